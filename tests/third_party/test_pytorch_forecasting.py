"""pytorch-forecasting: forecasts of several quantiles; the network predicts no classes."""

import lightning as L
import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.metrics import QuantileLoss

from tests.third_party.watched import no_classes, undisturbed, watch


def series():
    draw = np.random.default_rng(0)
    steps = np.tile(np.arange(40), 6)
    which = np.repeat(np.arange(6), 40)
    value = np.sin(steps / 4 + which) + 0.1 * draw.standard_normal(240)
    frame = pd.DataFrame({"step": steps, "which": which.astype(str), "value": value})
    return TimeSeriesDataSet(
        frame,
        time_idx="step",
        target="value",
        group_ids=["which"],
        max_encoder_length=12,
        max_prediction_length=4,
        static_categoricals=["which"],
        time_varying_known_reals=["step"],
        time_varying_unknown_reals=["value"],
    )


def test_forecasts_are_not_judged_as_classes():
    def make():
        L.seed_everything(5, verbose=False)
        return TemporalFusionTransformer.from_dataset(
            series(),
            hidden_size=8,
            attention_head_size=1,
            hidden_continuous_size=4,
            loss=QuantileLoss(),
            log_interval=-1,
        )

    def loaders():
        return (
            series().to_dataloader(train=True, batch_size=32, num_workers=0),
            series().to_dataloader(train=False, batch_size=32, num_workers=0),
        )

    watched = watch(make, loaders)
    undisturbed(watched)
    no_classes(watched)
