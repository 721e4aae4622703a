"""Cases of a folder of one's own: its ``cases.py`` gives ``CASES`` and ``run``, and what is true of each is said here.

``CASES`` holds a function of a seed for each name, which returns a case with at least ``net`` and ``train`` (a tuple of
images and labels). ``run(name, make, seed, out=folder)`` trains it and returns a mapping with ``messages`` (each
finding as :meth:`lightning_failures.Finding.to_dict` gives it), ``metric`` (a mapping an evaluation, with ``val_acc``)
and, where the training broke off, ``crash``. A ``TRUTHS`` of the module (:class:`.Truth` by name) goes before the one
here.
"""

import importlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from digit_runs import NETWORKS
from judgement import HEALTHY, Truth

__all__ = ["AS_GIVEN", "TRUTHS", "cases_of", "run_given", "takes_other_networks", "truths_of"]

AS_GIVEN = "as given"

#: What may be said of the cases that are known by name.
TRUTHS = {
    "colour_both_1": Truth(("shortcut",)),
    "watermark_both": Truth(("shortcut",)),
    "lowfreq": Truth(("shortcut",)),
    "bright_rgb_1": Truth(("shortcut",)),
    "bright_grey_.9": Truth(("shortcut",)),
    "leak_1": Truth(("shortcut",)),
    "waterbirds_factors": Truth(("shortcut",), ("factor_failure",), ("unusual_background",)),
    "lr_large": Truth(("learning_rate_high",), least="failure"),
    "dead": Truth(("dead_units",), least="failure"),
    "ssl_collapse_layers": Truth((), ("representation_collapse",), least="failure"),
    "turned_12": Truth((), ("factor_failure",), ("turned",)),
    "spill": Truth((), ("factor_spillover",), ("dark",)),
    "bn_digits": Truth(("evaluation_mode",), least="failure"),
    "nan": Truth(("not_finite",), least="failure"),
    "shuffled": Truth(("no_signal",), least="failure"),
    "val_scaled": Truth(("input_mismatch",), least="failure"),
    "val_off_by_one": Truth(("label_mismatch",), least="failure"),
    "short_digits": Truth(("learning_rate_low",), also=("unfinished_training",)),
    "overfit": Truth(("overfitting",)),
    "noise40": Truth(also=("label_noise",)),
    **dict.fromkeys(
        [
            "linear_task", "scalar_binary_rgb", "dose", "turned_0", "ssl_healthy_layers", "healthy_cnn", "healthy_rgb",
            "healthy_64", "healthy_binary", "healthy_16", "healthy_seg", "healthy_multilabel", "healthy_resnet10t",
            "few_steps", "mixup", "null_factors", "linear_probe",
        ],
        HEALTHY,
    ),
}  # fmt: skip

#: Cases that stay what they are in another network that takes their images.
ANY_NETWORK = {
    "nan", "shuffled", "val_scaled", "val_off_by_one", "overfit", "turned_12", "turned_0", "noise40",
    "healthy_cnn", "healthy_rgb", "healthy_binary", "mixup", "null_factors",
}  # fmt: skip


def module_of(folder: Path) -> Any:
    """The folder's ``cases.py``."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module("cases")


def cases_of(folder: Path) -> Mapping[str, Callable[[int], Any]]:
    """The cases of a folder by name."""
    cases: Mapping[str, Callable[[int], Any]] = module_of(folder).CASES
    return cases


def truths_of(folder: Path) -> dict[str, Truth]:
    """What is true of them, as far as it is known."""
    own: Mapping[str, Truth] = getattr(module_of(folder), "TRUTHS", {})
    return {**TRUTHS, **own}


def takes_other_networks(case: str) -> bool:
    """Whether a case stays what it is in another network."""
    return case in ANY_NETWORK


def run_given(folder: Path, case: str, network: str, seed: int) -> dict[str, Any]:
    """Run one case, in its own network or in another; its record in the form of :func:`.train`."""
    module = module_of(folder)

    def make(seed: int) -> Any:
        made = module.CASES[case](seed)
        if network != AS_GIVEN:
            images, labels = made.train[:2]
            made.net = NETWORKS[network](images.shape[1], int(labels.max()) + 1)
            with torch.no_grad():
                made.net(images[:2])  # the sizes of lazy layers
        return made

    with tempfile.TemporaryDirectory() as own_files:
        result = module.run(case, make, seed, out=Path(own_files))
    accuracies = [row["val_acc"] for row in result["metric"] if row.get("val_acc") is not None]
    return {
        "findings": result["messages"],
        "accuracy": accuracies[-1] if accuracies else None,
        "truth": result.get("truth", {}),
        "warnings": result.get("warnings", []),
        "crash": result.get("crash", ""),
    }
