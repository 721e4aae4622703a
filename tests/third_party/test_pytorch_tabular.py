"""pytorch-tabular: tables, whose batches are dicts of columns and whose forward returns a dict."""

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig

from tests.third_party.watched import features_or_unwatched, no_classes, right_or_unwatched, undisturbed, watch


def frame(rows, seed):
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(draw.standard_normal((rows, 5)).astype("float32"), columns=list("abcde"))
    table["colour"] = draw.choice(["red", "green", "blue"], rows)
    table["kind"] = (table.a + table.b > 0).map({True: "up", False: "down"})
    table["size"] = (table.a - 2 * table.c).astype("float32")
    return table


def prepared(task, target):
    model = TabularModel(
        data_config=DataConfig(
            target=[target], continuous_cols=list("abcde"), categorical_cols=["colour"], num_workers=0
        ),
        model_config=CategoryEmbeddingModelConfig(task=task, layers="32-16", learning_rate=1e-2),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(batch_size=32, max_epochs=2, load_best=False, accelerator="cpu", seed=5),
        verbose=False,
        suppress_lightning_logger=True,
    )
    return model, model.prepare_dataloader(frame(160, 0), validation=frame(70, 1), seed=5)


@pytest.mark.parametrize(("task", "target"), [("classification", "kind"), ("regression", "size")])
def test_a_table_is_watched_for_what_is_predicted_of_it(task, target):
    def make():
        return prepared(task, target)[0].prepare_model(prepared(task, target)[1])

    def loaders():
        data = prepared(task, target)[1]
        return data.train_dataloader(), data.val_dataloader()

    watched = watch(make, loaders, pl.Trainer)
    undisturbed(watched)
    entered = torch.cat([watched.rows("head", batch) for batch in loaders()[1]])
    features_or_unwatched(watched, entered)
    if task == "regression":
        no_classes(watched)
        return
    right, rows = 0.0, 0
    with torch.no_grad():
        for batch in loaders()[1]:
            predicted = watched.module.eval()(batch)["logits"].argmax(1)
            right += (predicted == batch["target"][:, 0]).sum().item()
            rows += len(predicted)
    right_or_unwatched(watched, right / rows)
