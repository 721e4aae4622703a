"""Classes that are much more frequent in training than others, so that the rare ones are hardly given."""

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
from lightning_failures.callbacks.causes.experiments import CLASS_IMBALANCE
from lightning_failures.callbacks.causes.kinds import GENERALISES

__all__ = ["CLASS_IMBALANCE_CAUSE"]

#: Share of the gap that it must close: less than of other causes, since most training images are of frequent classes,
#: and their accuracy is not what a network could have on classes of which it saw few.
ENOUGH_OF_UNEVEN = 0.15


def _test(case: Case) -> Tested | None:
    uneven = case.value("causes/uneven_classes")
    if math.isnan(uneven) or not uneven:
        return INAPPLICABLE
    made = experiment_of(case, CLASS_IMBALANCE)
    if not made:
        return None
    if not mends(made, ENOUGH_OF_UNEVEN):
        return EXCLUDED if figure(made, "after") - figure(made, "before") < LEAST_GAIN else INAPPLICABLE
    most, least = case.value("causes/largest_class_share"), case.value("causes/smallest_class_share")
    return Tested(
        True,
        f"Of the training images that were kept, {most:.0%} are of the most frequent class and {least:.1%} of the "
        "rarest. With the scores that the network would have if all classes were equally frequent (each less the "
        f"logarithm of its class's share), the accuracy on the same validation images {gained(made)}.",
        "Balance the classes in the batches (WeightedRandomSampler) or in the loss (weight=), or take the logarithm of "
        "the shares off the scores as here; and ask for more images of the rare classes.",
        made | {"largest_class_share": most, "smallest_class_share": least},
    )


CLASS_IMBALANCE_CAUSE = CauseTest("class_imbalance", GENERALISES, _test, undoes=True)
