"""A network that works otherwise in evaluation than in training: batch norm that lags, or the wrong mode."""

import math

from lightning_failures.callbacks.causes.case import (
    EXCLUDED,
    INAPPLICABLE,
    LEAST_GAIN,
    Case,
    CauseTest,
    Tested,
    experiment_of,
    figure,
    gained,
    mends,
)
from lightning_failures.callbacks.causes.experiments import TRAINING_IMAGES
from lightning_failures.callbacks.causes.kinds import EVALUATED
from lightning_failures.records.kind import TRAINING_FAULT

__all__ = ["EVALUATION_MODE"]


def _test(case: Case) -> Tested | None:
    if case.finding.kind == TRAINING_FAULT:
        if case.finding.rule != "validated_in_training_mode":
            return INAPPLICABLE
        figures = {"in_training_mode": case.value("causes/in_training_mode")}
        return Tested(True, "The network is validated in training mode.", case.finding.advice, figures)
    made, of_training = experiment_of(case, "evaluation_mode"), experiment_of(case, TRAINING_IMAGES)
    if not made and not of_training:
        # without batch norm both modes are one, as far as an experiment without chance can tell
        return None if math.isnan(case.value("causes/training_accuracy")) else EXCLUDED
    in_training_mode = case.value("causes/in_training_mode") >= 1
    # the statistics of a validation batch also undo another scale of its inputs: training images tell them apart
    if not mends(made if in_training_mode else of_training):
        return EXCLUDED
    # where nothing foretells the labels, training images that were learnt by heart gain by it, and validation images
    # nothing: then it is not why these fail
    if made and not figure(made, "after") - figure(made, "before") >= LEAST_GAIN:
        return EXCLUDED
    images = "validation" if mends(made) else "training"
    made = made if mends(made) else of_training
    gap = "the gap to training images" if images == "validation" else "the gap between training and validation"
    told = f"the accuracy on the same {images} images {gained(made, gap)}"
    if in_training_mode:
        return Tested(
            True,
            f"The network is validated in training mode; in evaluation mode, {told}.",
            "Do not call train() in or before validation: Lightning sets both modes itself.",
            made,
        )
    return Tested(
        True,
        "Batch norm's running statistics, with which the network is evaluated, are not those of the batches that it is "
        f"trained with: with the statistics of the batch, {told}.",
        "Standardise the inputs with the training set's mean and deviation, so that running statistics have less to "
        "follow; else raise batch norm's momentum, train for more steps, or use a norm without running statistics.",
        made,
    )


EVALUATION_MODE = CauseTest("evaluation_mode", (*EVALUATED, TRAINING_FAULT), _test, undoes=True)
