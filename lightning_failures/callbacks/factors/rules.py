"""What counts as a failure in the figures of factors; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import FACTOR_FAILURE, FACTOR_SPILLOVER
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=FACTOR_FAILURE,
        when=["failures/factors/odds_low/* > 1.2", "failures/factors/p_value/* < 0.01"],
        clear=["failures/factors/odds_low/* <= 1"],
        plain_when=[
            "failures/factors/odds_low/* > 5",
            "failures/factors/p_value/* < 0.0001",
            "failures/factors/difference_low/* > 0.02",
        ],
        severity="watch",
        severe_when={
            "warning": ["failures/factors/odds_low/* > 2", "failures/factors/difference_low/* > 0.02"],
            "failure": ["failures/factors/odds_low/* > 2", "failures/factors/difference_low/* > 0.2"],
        },
        evidence={
            "error": "failures/factors/error/*",
            "error_without": "failures/factors/error_without/*",
            "error_difference": "failures/factors/error_difference/*",
            "difference_low": "failures/factors/difference_low/*",
            "difference_high": "failures/factors/difference_high/*",
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
            "Wrong on {error:share} {images:.0f} images marked {subject}, and on {error_without:share} the others: a "
            "difference of {error_difference:.0%} (95% interval {difference_low:.0%} to {difference_high:.0%})."
        ),
        advice="Look at these images; add more of them, augment for them, or report accuracy on them separately.",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "the odds ratio, since the error ratio moves with accuracy and cannot exceed 1 over the error rate; among "
            "214 published ImageNet models above 0.5 accuracy its median is 3.7 on texture, 3.0 on subcategory, 0.6 to "
            "1.7 on the easier eight factors. A difference beyond chance is worth watching; twice the odds are a "
            "warning, and a failure where they are one image in five more"
        ),
    ),
    Rule(
        kind=FACTOR_FAILURE,
        name="mean_error_failure",
        when=[
            "failures/factors/mean_error_low/* > 1.25",
            "failures/factors/mean_error_p_value/* < 0.01",
            "failures/factors/images/* >= 10",
        ],
        clear=["failures/factors/mean_error_low/* <= 1"],
        plain_when=["failures/factors/mean_error_low/* > 1.5", "failures/factors/mean_error_p_value/* < 0.0001"],
        severity="watch",
        severe_when={
            "warning": ["failures/factors/mean_error_low/* > 1.5"],
            "failure": ["failures/factors/mean_error_low/* > 2"],
        },
        evidence={
            "ratio": "failures/factors/mean_error_ratio/*",
            "low": "failures/factors/mean_error_low/*",
            "high": "failures/factors/mean_error_high/*",
            "p_value": "failures/factors/mean_error_p_value/*",
            "images": "failures/factors/images/*",
            "all": "failures/factors/mean_error/all",
        },
        message=(
            "The {images:.0f} images marked {subject} have {ratio:.2f} times the mean error of all images (95% "
            "interval {low:.2f} to {high:.2f}), which is {all:.3g}."
        ),
        advice="Look at these images; add more of them, augment for them, or report the error on them separately.",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "as with the errors of classes, a difference beyond chance is worth watching, by Welch's test with Holm's "
            "adjustment. Of 16 random factors of ten images or more none was named in 2,280 evaluations of 60 to 1,000 "
            "images, with errors of four kinds, from even ones to those of one image in ten; of six images in 1% to "
            "5%. A tenth of 1,000 images with three times the errors: 93% to 98% where errors are even, 28% where few "
            "images have most of them"
        ),
    ),
    Rule(
        kind=FACTOR_SPILLOVER,
        when=["failures/factors/spillover/* >= 1", "failures/factors/spillover_risk_low/* > 1.25"],
        clear=["failures/factors/spillover_risk/* <= 1.25"],
        evidence={
            "risk": "failures/factors/spillover_risk/*",
            "risk_low": "failures/factors/spillover_risk_low/*",
            "mcnemar_p": "failures/factors/spillover_mcnemar_p/*",
            "others": "failures/factors/spillover_others/*",
            "best": "failures/factors/spillover_best/*",
            "error": "failures/factors/error/*",
        },
        message=(
            "Images marked {subject} got worse than they were: {risk:.2f} times the errors of epoch {best:.0f}, when "
            "they had fewest (McNemar's exact test on the same images: p {mcnemar_p:p_value}). The others have "
            "{others:.2f} times the errors that they had then."
        ),
        advice=(
            "Compare with the checkpoint of that epoch, and look at what changed after it: augmentation, sampling, "
            "learning rate."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "a paired test at 5%, Holm-adjusted over the factors, and a quarter more errors beyond chance, since the "
            "best of many epochs is better than it would be again, twice in a row. Replayed on the 16 x 16 digits: "
            "dark images lost when an augmentation ends 5 of 5; ten random factors, and images turned in validation "
            "alone, 0 of 15"
        ),
    ),
)
