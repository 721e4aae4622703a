"""Failing images as the logger gets them; they have no figures."""

from lightning_failures.reporting.column import Column, Medium

__all__ = ["IMAGES_COLUMN"]


IMAGES_COLUMN = Column(
    "images",
    (),
    media=(
        Medium("worst", "picture", "Images that the model gets wrong"),
        Medium("table", "table", "Images that the model gets wrong, one row for each"),
        Medium("confusion", "picture", "Which classes are taken for which"),
    ),
)
