"""From where on errors on one group are a failure; each threshold has its source beside it."""

from lightning_failures.records.kind import GROUP_SHIFT
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=GROUP_SHIFT,
        when=["failures/groups/difference_low/* > 0.1", "failures/groups/images/* >= 20"],
        clear=["failures/groups/difference_low/* <= 0.05"],
        plain_when=["failures/groups/difference_low/* > 0.2"],
        severity="warning",
        severe_when={"failure": "failures/groups/difference_low/* > 0.2"},
        evidence={
            "error": "failures/groups/error/*",
            "error_without": "failures/groups/error_without/*",
            "difference": "failures/groups/difference/*",
            "low": "failures/groups/difference_low/*",
            "high": "failures/groups/difference_high/*",
            "images": "failures/groups/images/*",
            "group_read": "failures/groups/group_read",
            "group_chance": "failures/groups/group_chance",
            "label_read": "failures/groups/label_read",
            "robustness_index": "failures/groups/robustness_index",
        },
        message=(
            "Wrong on {error:share} {images:.0f} images of {subject}, and on {error_without:share} the images of other "
            "groups: a difference of {difference:.0%} (interval {low:.0%} to {high:.0%}, for all groups together)."
        ),
        advice=(
            "Look whether these images are prepared as the others are: audit_data(..., groups=...) says whether their "
            "inputs are on another scale, and what is read of a group that was not seen. Then split by group, train on "
            "more groups, or scale each image by itself."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "one image in ten more than on other groups is a warning, one in five a failure, as for factors; intervals "
            "are adjusted for the number of groups"
        ),
    ),
)
