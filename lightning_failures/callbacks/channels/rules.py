"""What counts as a failure in the figures of channels; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import SINGLE_BAND_RELIANCE
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=SINGLE_BAND_RELIANCE,
        when=[
            "failures/channels/share/* > 0.7",
            "failures/channels/change/* > 0.1",
            "failures/channels/bands >= 8",
        ],
        clear=["failures/channels/share/* <= 0.6"],
        plain_when=[
            "failures/channels/share/* > 0.9",
            "failures/channels/change/* > failures/channels/error/* + 0.5",
        ],
        evidence={
            "change": "failures/channels/change/*",
            "error": "failures/channels/error/*",
            "share": "failures/channels/share/*",
            "floor": "failures/channels/floor",
            "effective_bands": "failures/channels/effective_channels",
            "bands": "failures/channels/bands",
        },
        message=(
            "The model depends on one band: with {subject} replaced its cross-entropy rises by {change:.2f} nats "
            "(standard error {error:.2f}). That is {share:.0%} of all that is lost when each of the {bands:.0f} bands "
            "is replaced in turn; a rise up to {floor:.2f} would mean nothing."
        ),
        advice=(
            "Ask whether that band can carry the task. Look there for an artefact of the instrument or the "
            "preparation; train again with the band left out or varied."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on planted scenes in 16 bands (benchmarks/single_band.py), the largest share after the last "
            "epoch: 0.79 to 0.92 where one band is all there is to learn, 0.52 and 0.60 where it lies across two, 0.67 "
            "at most elsewhere; found in 8 of 10 such runs, the others lying across two, and in none of 12 others. "
            "With fewer than 8 bands a large share is no news"
        ),
    ),
)
