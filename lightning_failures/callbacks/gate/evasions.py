"""Options that would let a checkpoint past the gate."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_failures.errors import InputError

__all__ = ["refuse_evasions"]

#: The methods of Lightning's own, private ones among them, that every save goes through.
HOOKS = ("_save_topk_checkpoint", "_save_last_checkpoint", "_save_checkpoint", "_update_best_and_save")


def refuse_evasions(
    where: str, monitor: str | None, tie_breaks: Sequence[str], on_infeasible: str, options: dict[str, Any]
) -> None:
    """Refuse what would save without passing the gate, or save nothing.

    Args:
        where: the public name that was called, for the error.
        monitor: what is ranked by.
        tie_breaks: what decides where it ties.
        on_infeasible: what is done while nothing passes.
        options: of ModelCheckpoint.

    Raises:
        InputError: for each of them.
    """
    missing = [hook for hook in HOOKS if not hasattr(ModelCheckpoint, hook)]
    if missing:
        given = f"a ModelCheckpoint without {', '.join(missing)}"
        raise InputError(where, "this version of Lightning saves in another way", given, "Use lightning 2.5 or 2.6.")
    if on_infeasible not in ("skip", "least_violation"):
        fix = "Use 'skip' or 'least_violation'."
        raise InputError(where, "there is no such on_infeasible", repr(on_infeasible), fix)
    if monitor is None and tie_breaks:
        given = f"monitor=None, tie_breaks={list(tie_breaks)}"
        raise InputError(where, "nothing that could tie", given, "Name a monitor.")
    for option, value, wrong, fix in (
        ("save_top_k", 0, "nothing would pass the gate", "Leave it out, or use ModelCheckpoint for last.ckpt alone."),
        (
            "save_last",
            "link",
            "last.ckpt would be a link to the newest that passed, and grow old",
            "Use save_last=True.",
        ),
        (
            "save_on_exception",
            True,
            "what is saved on an exception was not judged",
            "Add a ModelCheckpoint(save_on_exception=True) with a folder of its own.",
        ),
    ):
        if options.get(option) == value:
            raise InputError(where, wrong, f"{option}={value!r}", fix)
