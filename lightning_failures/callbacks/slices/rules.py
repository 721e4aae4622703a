"""From where on a slice is a failure; each threshold has its measurement beside it."""

from lightning_failures.records.kind import SLICE_FAILURE
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=SLICE_FAILURE,
        when=["failures/slices/excess/* > 0.1"],
        clear=["failures/slices/excess/* <= 0.05"],
        plain_when=["failures/slices/excess/* > 0.2"],
        severity="watch",
        severe_when={"warning": "failures/slices/excess/* > 0.2", "failure": "failures/slices/excess/* > 0.3"},
        evidence={
            "error": "failures/slices/error/*",
            "error_others": "failures/slices/error_others/*",
            "difference": "failures/slices/difference/*",
            "low": "failures/slices/excess/*",
            "high": "failures/slices/difference_high/*",
            "p_value": "failures/slices/p_value/*",
            "images": "failures/slices/images/*",
        },
        message=(
            "A group of images fails ({subject}): {error:.0%} of {images:.0f} are wrong, against {error_others:.0%} of "
            "other images of the same classes. The group was found on one half of the images and tested on these, of "
            "the other half (difference {low:.0%} to {high:.0%}, p {p_value:p_value})."
        ),
        advice=(
            "Look at the contact sheet: what do these images share? Then train on more images of this kind, or make "
            "training images so at random; where they are mislabelled or cannot be told by eye, mend the labels or "
            "leave them out. What find_slices() calls members are the rows of all of them."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "a difference beyond chance of one image in ten is worth watching, of one in five a warning; set on seeds "
            "1 to 3 of garments with and without planted slices, see docs/slices.md: images between two classes that "
            "look alike reach .12 in healthy networks"
        ),
    ),
)
