"""Validation labels that stand for other classes than those of training."""

import math

from lightning_failures.callbacks.causes.case import (
    EXCLUDED,
    INAPPLICABLE,
    Case,
    CauseTest,
    Tested,
    experiment_of,
    figure,
    gained,
    mends,
)
from lightning_failures.callbacks.causes.experiments import LABELS
from lightning_failures.callbacks.causes.kinds import EVALUATED
from lightning_failures.callbacks.causes.rules import LABELS_RENAMED
from lightning_failures.records.kind import CLASS_COLLAPSE, DATA_FAULT

__all__ = ["LABEL_MISMATCH"]

#: Accuracy above that of naming the most frequent class from which the network tells classes apart under other numbers.
#: A network that named two classes had 0.02 on infrared spectra.
LEAST_SKILL = 0.1


def _test(case: Case) -> Tested | None:
    loaded, asked = "", case.value("data/unseen_classes")
    if case.finding.kind == CLASS_COLLAPSE and asked >= case.value("collapse/classes_never_given") > 0:
        share = case.value("data/unseen_class_images")
        return Tested(
            True,
            f"Training shows no image of {asked:.0f} of the classes that validation asks for, which are {share:.1%} of "
            "its images.",
            "Look how the data was split, and for a filter or a table that drops or joins classes.",
            {"unseen_classes": asked, "unseen_class_images": share},
        )
    if case.finding.kind == DATA_FAULT:
        if case.finding.rule != LABELS_RENAMED:
            return INAPPLICABLE
        made = {key: value for key, value in case.finding.evidence.items() if key in ("before", "after")}
        loaded = " Make sure, too, that the trained weights were loaded: an untrained model may look the same."
    else:
        made = experiment_of(case, LABELS)
        if not made:
            return None
        # predictions of one class, renamed to the most frequent one, are right as often as that is
        low = figure(made, "after_low" if "after_low" in made else "after")
        blind = low <= case.value("causes/chance") + LEAST_SKILL
        if not mends(made) or blind:
            return EXCLUDED
    renamed, shift = case.value("causes/labels_renamed"), case.value("causes/label_shift")
    how = f"{renamed:.0f} classes" + ("" if math.isnan(shift) else f", each label {shift:.0f} above the prediction")
    return Tested(
        True,
        f"The network tells the classes apart, but under other numbers than these labels ({how}). Each predicted class "
        f"was matched with a label on one half of the images; on the other half the accuracy then {gained(made)}.",
        "Give both data sets one list of classes in one order: compare class_to_idx, a label that is counted from 1, "
        f"and folders that one of them lacks.{loaded}",
        made,
    )


LABEL_MISMATCH = CauseTest("label_mismatch", (*EVALUATED, DATA_FAULT), _test, undoes=True)
