"""What columns of annotations and predictions are called: the names that people give to file names and classes."""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from lightning_failures.data.csv_file import is_index

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CLASS", "FILE_NAME", "PREDICTED_CLASS", "PROBABILITY", "find_column", "find_file_names", "row_numbers"]

#: Names of columns, the one that is documented first; case, spaces and underscores do not count.
FILE_NAME = (
    *("file_name", "file", "file_path", "path", "image", "image_name", "image_path", "image_file", "image_file_name"),
    *("image_id", "img", "img_name", "img_path", "id"),
)
CLASS = ("class", "label", "target", "true_class", "true_label", "class_name", "ground_truth")
PREDICTED_CLASS = ("predicted_class", "prediction", "predicted", "pred", "predicted_label", "pred_class", "pred_label")
PROBABILITY = ("predicted_probability", "probability", "predicted_prob", "prob", "confidence")

_IMAGE = re.compile(r".*\.(jpe?g|png|bmp|tiff?|gif|webp|npy|dcm|nii(\.gz)?|pgm|ppm)", re.IGNORECASE | re.DOTALL)
_UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*|index", re.IGNORECASE)


def find_column(columns: Iterable[object], names: Collection[str]) -> str | None:
    """The column that bears one of these names; of several the one that stands first among the names.

    Example:
        >>> find_column(["Image", "File Name"], FILE_NAME), find_column(["dark"], FILE_NAME)
        ('File Name', None)
    """
    known = {_plain(str(column)): str(column) for column in columns}
    return next((known[_plain(name)] for name in names if _plain(name) in known), None)


def find_file_names(frame: "DataFrame") -> str | None:
    """The column of file names: by its name, or since its cells are called like images; None where there is none.

    Example:
        >>> import pandas
        >>> find_file_names(pandas.DataFrame({"dark": [0, 1], "Bild": ["a.png", "b.png"]}))
        'Bild'
    """
    if (named := find_column(frame.columns, FILE_NAME)) is not None:
        cells = frame[named]
        words, different = all(isinstance(cell, str) for cell in cells), cells.nunique(dropna=False)
        numbers = different == len(cells) > 2 and not is_index(cells)
        if _plain(named) == _plain(FILE_NAME[0]) or (2 * different > len(cells) if words else numbers):
            return named
    like_images = [
        str(name)
        for name in frame.columns
        if all(isinstance(cell, str) and _IMAGE.fullmatch(cell) for cell in frame[name]) and frame[name].is_unique
    ]
    return like_images[0] if len(like_images) == 1 and len(frame) else None


def row_numbers(frame: "DataFrame") -> list[str]:
    """Columns that number the rows: without a name, or called index, and of whole numbers, each once.

    Example:
        >>> import pandas
        >>> row_numbers(pandas.DataFrame({"index": [2, 0, 1], "dark": [1, 0, 1]}))
        ['index']
    """
    from pandas.api.types import is_integer_dtype

    named = [name for name in frame.columns if _UNNAMED.fullmatch(str(name))]
    return [str(name) for name in named if is_integer_dtype(frame[name]) and frame[name].is_unique]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
