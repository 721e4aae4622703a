"""Sample records for tests of reporting: a network that fails, and one that does not."""

import dataclasses
import math

from lightning_failures import Finding
from lightning_failures.records import Evaluation, RunRecord

FACTORS = {
    # error ratio, low, high, p, images, errors
    "boundary": (1.31, 1.22, 1.41, 1e-9, 803, 505),
    "dark": (1.22, 1.08, 1.36, 0.002, 402, 236),
    "small field": (1.57, 1.39, 1.74, 1e-7, 180, 136),
    "rare class": (1.94, 1.71, 2.08, 1e-12, 96, 90),
    "bright": (0.83, 0.72, 0.95, 0.01, 400, 160),
    "mixed crop": (0.97, 0.62, 1.46, 0.88, 38, 18),
    "cloud": (math.nan, math.nan, math.nan, math.nan, 0, 0),
}


def values(
    accuracy: float, reference: float, own: float, scale: float = 1.0, factors: dict[str, tuple[float, ...]] = FACTORS
) -> dict[str, float]:
    simplicity = {
        "model_accuracy": accuracy,
        "reference_accuracy": reference,
        "difference": reference - accuracy,
        "low": reference - accuracy - 0.026,
        "high": reference - accuracy + 0.026,
        "p_value": 1e-30,
        "images": 2104.0,
        "own/1": own,
        "donor/1": max(0.0, 0.93 - own),
        "own_low/1": max(0.0, own - 0.05),
        "own_high/1": min(1.0, own + 0.04),
        "accuracy": accuracy,
        "chance": 0.24,
    }
    collapse = {
        "effective_rank/backbone.global_pool": 9.4 * scale,
        "rankme/backbone.global_pool": 101.3,
        "participation_ratio_unbiased/backbone.global_pool": 4.1,
        "top1_share/backbone.global_pool": 0.44,
        "logit_effective_rank": 3.2,
        "logit_top1_share": 0.55,
        "effective_classes": 7.9,
        "dominant_excess": 0.21,
        "marginal_perplexity": 9.9,
        "label_effective_rank": 10.2,
        "accuracy": accuracy,
        "chance": 0.24,
    }
    logged = {"val_acc": accuracy, "val_loss": 2.1 - accuracy}
    logged |= {f"failures/simplicity/{key}": value for key, value in simplicity.items()}
    logged |= {f"failures/collapse/{key}": value for key, value in collapse.items()}
    for name, row in factors.items():
        for statistic, value in zip(("error_ratio", "low", "high", "p_value", "images", "errors"), row, strict=True):
            shrunk = 1 + (value - 1) * scale if statistic in ("error_ratio", "low", "high") else value
            logged[f"failures/factors/{statistic}/{name}"] = shrunk
    logged["failures/factors/error_ratio/worst"] = logged["failures/factors/error_ratio/rare class"]
    logged["failures/factors/error_ratio/worst_shrunk"] = 1 + 0.81 * scale
    logged["failures/factors/error/all"] = 1 - accuracy
    return logged


UNTAPPED = Finding(
    kind="untapped_information",
    subject="linear reference",
    epoch=3,
    step=176,
    severity="failure",
    evidence={"model_accuracy": 0.52, "reference_accuracy": 0.8, "difference": 0.28, "low": 0.254, "high": 0.306,
              "p_value": 1e-30, "images": 2104},
    message="The network gets 52% of 2,104 validation images right; a linear model on the mean spectrum, fitted in "
    "closed form, gets 80% of the same images (28 points more, 95% interval 25 to 31).",
    advice="Standardise each channel, train longer or with a higher learning rate, and compare again.",
)  # fmt: skip

ONE_DIMENSIONAL = Finding(
    kind="one_dimensional_predictions",
    subject="",
    epoch=2,
    step=132,
    severity="failure",
    evidence={"own": 0.71, "own_low": 0.66, "own_high": 0.75, "donor": 0.22, "accuracy": 0.52, "chance": 0.24},
    message="In 71% of image pairs the prediction follows one number per image, its place on the main direction of the "
    "data (95% interval 66% to 75%); in 22% it follows all the rest.",
    advice="Normalise each spectrum by its total, or standardise the channels, so that brightness does not dominate.",
)

FACTOR = Finding(
    kind="factor_failure",
    subject="rare class",
    epoch=4,
    step=220,
    evidence={"error_ratio": 1.94, "low": 1.71, "high": 2.08, "p_value": 1e-12, "images": 96, "errors": 90},
    message="On images with 'rare class' the network makes 1.94 times the errors of all images (95% interval 1.71 to "
    "2.08; 96 images).",
    advice="Weigh rare classes more, or sample them more often.",
)

CLEARED = Finding(
    kind="class_collapse",
    subject="",
    epoch=1,
    step=88,
    cleared=3,
    evidence={"effective_classes": 1.4, "label_classes": 11.2, "dominant_excess": 0.61},
    message="Predictions fall on 1.4 effective classes where the labels have 11.2.",
    advice="Lower the learning rate or warm it up.",
)

EXPLAINED = Finding(
    kind="class_collapse",
    subject="",
    epoch=3,
    step=132,
    severity="failure",
    evidence={"effective_classes": 1.8, "label_classes": 10.0, "accuracy": 0.17, "chance": 0.1},
    message="Predictions fall on 1.8 effective classes where the labels have 10.0.",
    advice="Divide by the training set's deviation in the validation transform too.",
    cause="input_mismatch",
    why="With training's mean and deviation, the accuracy on the same validation images goes from 0.17 to 0.97 (95% "
    "interval 0.94 to 0.98), 99% of the gap.",
    excluded=("not_finite", "label_mismatch"),
    experiment={"before": 0.17, "before_low": 0.14, "before_high": 0.21,
                "after": 0.97, "after_low": 0.94, "after_high": 0.98, "share": 0.99},
)  # fmt: skip

UNEXPLAINED = dataclasses.replace(
    EXPLAINED, cause=None, why="", experiment={}, advice="Look at the images that are always wrong."
)


def failing(epochs: int = 6, name: str = "raw") -> RunRecord:
    evaluations = [
        Evaluation(
            epoch,
            44 * (epoch + 1),
            values(0.52 - 0.24 * math.exp(-2.5 * epoch / max(epochs - 1, 1)), 0.80 - 0.02 * (epoch == 0), 0.71),
        )
        for epoch in range(epochs)
    ]
    evaluations[-1].values.update(values(0.52, 0.80, 0.71))
    findings = [f for f in (UNTAPPED, ONE_DIMENSIONAL, FACTOR, CLEARED) if f.epoch < epochs]
    undefined = {"failures/factors/error_ratio/cloud": "no image carried the factor"}
    return RunRecord(name, evaluations, findings, undefined, 74.2, 3.1)


def healthy(epochs: int = 6, name: str = "standardised") -> RunRecord:
    evaluations = [
        Evaluation(
            epoch,
            44 * (epoch + 1),
            values(0.83 - 0.35 * math.exp(-3.5 * epoch / max(epochs - 1, 1)), 0.81, 0.16, scale=0.25),
        )
        for epoch in range(epochs)
    ]
    undefined = {"failures/factors/error_ratio/cloud": "no image carried the factor"}
    return RunRecord(name, evaluations, [], undefined, 75.9, 3.0)
