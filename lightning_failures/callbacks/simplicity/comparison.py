"""The network beside the simple models on the same images of an evaluation."""

import torch
from torch import Tensor

from lightning_failures.callbacks.simplicity.cues import STANDARD_CUES, CueWatch
from lightning_failures.callbacks.simplicity.ladder import LadderWatch
from lightning_failures.callbacks.simplicity.samples import Samples
from lightning_failures.callbacks.simplicity.simple_models import SimpleModels
from lightning_failures.interventions.interventions import as_labels
from lightning_failures.metrics.simplicity import UntappedInformation

__all__ = ["TOO_FEW", "Comparison"]

TOO_FEW = "too few training images for a linear reference"


class Comparison:
    """Compares the network with every rung, with the linear one image by image, and its logits with every cue.

    ``compute`` returns what :class:`.UntappedInformation` returns, ``chance``, and what :class:`.LadderWatch` and
    :class:`.CueWatch` return.

    Args:
        models: that were fixed.
    """

    def __init__(self, models: SimpleModels) -> None:
        self.models = models
        self.linear = UntappedInformation()
        self.ladder = LadderWatch(models.names, len(models.linear.bias))
        own = {name: bins for name, bins in models.bins.items() if name not in STANDARD_CUES}
        self.cues = CueWatch(own, models.logits)  # the others are exchanged
        self.undefined: dict[str, str] = {}

    def begin(self, device: torch.device) -> None:
        """Forget all images."""
        self.linear.to(device).reset()
        self.ladder.begin(device)
        self.cues.begin(device)

    def update(self, samples: Samples, groups: Tensor | None = None) -> None:
        """Add the samples of one batch, with logits.

        Logits that are not finite make no prediction: a class that there is not, and so a wrong one.

        Args:
            samples: of one batch.
            groups: which of its images belong together; (n), int64; None: they are independent.
        """
        assert samples.logits is not None
        none = len(self.models.linear.bias)
        own = torch.where(samples.logits.isfinite().all(1), as_labels(samples.logits), none)
        simple = self.models.predict(samples)
        self.ladder.update(own, simple, samples.target)
        self.linear.update(own, simple[self.models.linear_name], samples.target, groups)
        self.cues.update(samples.logits, samples.cues, samples.target)

    def compute(self) -> dict[str, Tensor]:
        """All of it, of all ranks."""
        values = self.linear.compute()
        self.undefined = dict(self.linear.undefined)
        if bool(self.models.linear.weight.isnan().any()):
            self.undefined = dict.fromkeys(self.undefined, TOO_FEW)
        values["chance"] = self.models.chance
        for part in (self.ladder, self.cues):
            values |= part.compute()
            self.undefined |= part.undefined
        return values
