"""Which kinds of finding a cause can explain, by what stands behind them."""

from lightning_failures.records.kind import (
    CLASS_COLLAPSE,
    FACTOR_FAILURE,
    FACTOR_SPILLOVER,
    GENERALISATION_GAP,
    GROUP_SHIFT,
    NO_LEARNING,
    NOT_FINITE,
    ONE_DIMENSIONAL_PREDICTIONS,
    REPRESENTATION_COLLAPSE,
    SIMPLE_CUE_RELIANCE,
    SINGLE_BAND_RELIANCE,
    SLICE_FAILURE,
    TRAINING_FAULT,
    UNTAPPED_INFORMATION,
)

__all__ = ["EVALUATED", "GENERALISES", "LEANS", "LEARNS", "OF_ONE_KIND", "WORKS"]

#: That the network does not learn what there is to be learnt.
LEARNS = (UNTAPPED_INFORMATION, CLASS_COLLAPSE, NO_LEARNING)

#: That what is learnt does not hold for other images.
GENERALISES = (GENERALISATION_GAP, *LEARNS)

#: That images of one kind, the finding's subject, are judged wrongly.
OF_ONE_KIND = (FACTOR_FAILURE, FACTOR_SPILLOVER, GROUP_SHIFT)

#: That validation images are judged wrongly, all of them or those of one kind.
EVALUATED = (*GENERALISES, *OF_ONE_KIND, SLICE_FAILURE)

#: That the network or its training is broken.
WORKS = (*EVALUATED, REPRESENTATION_COLLAPSE, NOT_FINITE, TRAINING_FAULT)

#: That decisions lean on one thing.
LEANS = (ONE_DIMENSIONAL_PREDICTIONS, SIMPLE_CUE_RELIANCE, SINGLE_BAND_RELIANCE)
