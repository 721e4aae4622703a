"""What counts as a failure in the figures of factors; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import FACTOR_FAILURE, FACTOR_SPILLOVER
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=FACTOR_FAILURE,
        when=["failures/factors/odds_low/* > 2", "failures/factors/p_value/* < 0.01"],
        clear=["failures/factors/odds_low/* <= 1.5"],
        plain_when=["failures/factors/odds_low/* > 5", "failures/factors/p_value/* < 0.0001"],
        evidence={
            "error_ratio": "failures/factors/error_ratio/*",
            "low": "failures/factors/low/*",
            "high": "failures/factors/high/*",
            "p_value": "failures/factors/p_value/*",
            "odds_ratio": "failures/factors/odds_ratio/*",
            "odds_low": "failures/factors/odds_low/*",
            "images": "failures/factors/images/*",
            "errors": "failures/factors/errors/*",
        },
        message=(
            "Images with {subject} are misclassified {error_ratio:.2f} times as often as all images (95% interval "
            "{low:.2f} to {high:.2f}; {errors:.0f} errors on {images:.0f} images)."
        ),
        advice="Look at these images; add more of them, augment for them, or report accuracy on them apart.",
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "the odds ratio, since the error ratio moves with accuracy; among 214 published ImageNet models above "
            ".5 accuracy its median is 3.7 on texture, 3.0 on subcategory, .6 to 1.7 on the easier eight factors"
        ),
    ),
    Rule(
        kind=FACTOR_SPILLOVER,
        when=[
            "failures/factors/spillover/* >= 1",
            "failures/factors/spillover_risk/* > 1",
            "failures/factors/spillover_mcnemar_p/* < 0.05",
        ],
        clear=["failures/factors/spillover_risk/* <= 1"],
        evidence={
            "risk": "failures/factors/spillover_risk/*",
            "mcnemar_p": "failures/factors/spillover_mcnemar_p/*",
            "ratio": "failures/factors/spillover_ratio/*",
            "low": "failures/factors/spillover_low/*",
            "high": "failures/factors/spillover_high/*",
            "error_ratio": "failures/factors/error_ratio/*",
        },
        message=(
            "Images with {subject} got worse while the network got better: they have {risk:.2f} times the errors "
            "of the best epoch before, image by image (McNemar's exact p {mcnemar_p:.2g}), and their error ratio "
            "is {ratio:.2f} times what it was (95% interval {low:.2f} to {high:.2f})."
        ),
        advice="Keep an earlier checkpoint at hand; look at what changed: augmentation, sampling, learning rate.",
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "paired tests at 5%, Holm-adjusted over the factors, twice in a row; a ratio that rises while the "
            "factor's own errors fall is not called, since ratios move with accuracy in healthy runs"
        ),
    ),
)
