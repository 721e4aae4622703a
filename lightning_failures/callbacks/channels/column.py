"""Channels as the report shows them."""

from lightning_failures.callbacks.channels.figures import record_bars
from lightning_failures.callbacks.channels.rules import RULES
from lightning_failures.callbacks.channels.terms import TERMS
from lightning_failures.records.keys import unescape
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Chart, Column, Medium, Proof
from lightning_failures.reporting.proof import from_chart

__all__ = ["CHANNELS"]


def _label(record: RunRecord) -> str | None:
    """What the bars of a run say, in words; None where no band has a figure of its own."""
    sizes = {name: abs(change) for name, change in record.matching("failures/channels/change/*").items()}
    if not sizes:
        return None
    most = max(sizes, key=lambda name: sizes[name])
    return f"What {record.name} loses without each band of channels, most without {unescape(most)}."


BARS = Chart(
    name="channels",
    caption=(
        "What the model depends on: rise of its cross-entropy without each band of channels, with its standard error, "
        "on a fixed batch. Hollow bars: no band passes its null floor, so that they are chance or too little to matter."
    ),
    label=_label,
    draw=record_bars,
)

CHANNELS = Column(
    "channels",
    TERMS,
    RULES,
    title="Channels",
    proofs=(Proof(("single_band_reliance",), from_chart(BARS)),),
    charts=(BARS,),
    media=(
        Medium("profile", "picture", "What the model loses without each band"),
        Medium("course", "picture", "What it loses without each band, over the evaluations"),
        Medium("shapley", "picture", "Share of each band, by Shapley values"),
        Medium("table", "table", "What the model loses without each band, one row for each"),
    ),
)
