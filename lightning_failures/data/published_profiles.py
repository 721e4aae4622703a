"""Published accuracies by factor, one model a row, against which a model of the same accuracy is placed."""

from collections.abc import Sequence
from os import PathLike

import torch
from torch import Tensor

from lightning_failures.data.csv_file import read_csv
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.profile import ProfileLine, fit_profile

__all__ = ["read_profiles"]


def read_profiles(
    path: str | PathLike[str],
    factors: Sequence[str],
    images: Tensor | None = None,
    accuracy: str = "average",
    where: str = "read_profiles",
) -> ProfileLine:
    """Read a table of accuracies and fit the accuracy on each factor by the overall accuracy.

    Args:
        path: a CSV file with a row for each model, a column for each factor, and one for the overall accuracy.
        factors: names of the columns.
        images: how many images carry each factor there; (f), int. See :func:`.fit_profile`.
        accuracy: name of the column of overall accuracies.
        where: the public name to put into an error.

    Raises:
        InputError: the file cannot be read, an accuracy is not in [0, 1], or there are fewer than three models.
        UnknownNameError: a column is not there.
        MissingPackageError: pandas is not installed.
    """
    frame = read_csv(where, path)
    columns = [accuracy, *factors]
    if lacking := [name for name in columns if name not in frame.columns]:
        given, fix = f"{path} without {', '.join(lacking)}", "Name the columns as the factors are named."
        raise UnknownNameError(where, "the published table lacks columns", given, fix)
    if len(frame) < 3:
        raise InputError(where, "too few published models", f"{path} with {len(frame)}", "Use a table of many models.")
    try:
        values = torch.tensor(frame[columns].to_numpy(dtype="float64"))
    except (ValueError, TypeError) as error:
        raise InputError(where, "accuracies are no numbers", str(path), "Write fractions of 1.") from error
    if bool(((values < 0) | (values > 1)).any()):
        given = f"{path}: {int(((values < 0) | (values > 1)).sum())} values"
        raise InputError(where, "accuracies are not in 0 to 1", given, "Write fractions of 1.")
    return fit_profile(values[:, 0], values[:, 1:], images)
