"""The rules that a diagnosis begins with; each threshold has its source or its measurement beside it."""

from lightning_failures.records.rule import Rule

__all__ = ["standard_rules"]


def standard_rules() -> tuple[Rule, ...]:
    """The rules that :class:`.FailureDiagnosis` begins with."""
    return (
        Rule(
            kind="untapped_information",
            when=["failures/simplicity/low > 0.05"],
            clear=["failures/simplicity/low <= 0.02"],
            evidence={
                "model_accuracy": "failures/simplicity/model_accuracy",
                "linear_accuracy": "failures/simplicity/reference_accuracy",
                "difference": "failures/simplicity/difference",
                "low": "failures/simplicity/low",
                "high": "failures/simplicity/high",
                "p_value": "failures/simplicity/p_value",
                "images": "failures/simplicity/images",
            },
            message=(
                "The network leaves information on the table: its accuracy is {model_accuracy:.3f}, that of a "
                "closed-form linear model of nothing but the mean spectra is {linear_accuracy:.3f} on the same "
                "{images:.0f} validation images, a difference of {difference:.3f} (95% interval {low:.3f} to "
                "{high:.3f})."
            ),
            advice=(
                "Standardise each channel: behind a large offset the running statistics of batch norm lag, and a "
                "network with them fails in evaluation alone, which `lightning-failures audit` measures. Then look at "
                "the learning rate and the length of training."
            ),
            warmup=2,
            persistence=2,
            source="measured on Indian Pines, resnet10t: raw inputs .2 to .4, standardised inputs under .05",
        ),
        Rule(
            kind="one_dimensional_predictions",
            when=[
                "failures/simplicity/own/1 >= 0.9",
                "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1",
            ],
            clear=["failures/simplicity/own/1 < 0.8"],
            evidence={
                "own": "failures/simplicity/own/1",
                "own_low": "failures/simplicity/own_low/1",
                "own_high": "failures/simplicity/own_high/1",
                "donor": "failures/simplicity/donor/1",
                "pairs": "failures/simplicity/pairs",
                "model_accuracy": "failures/simplicity/model_accuracy",
                "chance": "failures/simplicity/chance",
            },
            message=(
                "The predictions hang on one scalar an image: when another image is given only this image's coordinate "
                "on the data's first principal direction, {own:.0%} of {pairs:.0f} pairs predict as this image "
                "(95% interval {own_low:.0%} to {own_high:.0%}) and {donor:.0%} as the other."
            ),
            advice="Remove that direction from the inputs (spectra: divide by the total absorbance) and train again.",
            warmup=2,
            persistence=3,
            source="measured on planted scenes: collapsed runs .97 to 1.00, healthy runs .00 to .05",
        ),
        Rule(
            kind="simple_cue_reliance",
            when=[
                "failures/simplicity/reliance/* >= 0.6",
                "failures/simplicity/model_accuracy > failures/simplicity/chance + 0.1",
            ],
            clear=["failures/simplicity/reliance/* < 0.4"],
            evidence={
                "reliance": "failures/simplicity/reliance/*",
                "swap_own": "failures/simplicity/swap_own/*",
                "swap_donor": "failures/simplicity/swap_donor/*",
                "eta2": "failures/simplicity/eta2/*",
                "eta2_within": "failures/simplicity/eta2_within/*",
                "explained": "failures/simplicity/explained_adjusted/*",
                "reach": "failures/simplicity/reach/*",
                "best_reach": "failures/simplicity/best_reach",
                "model_accuracy": "failures/simplicity/model_accuracy",
                "chance": "failures/simplicity/chance",
            },
            message=(
                "The predictions rest on one simple cue, {subject}: {reliance:.0%} of them follow it, by exchanging it "
                "between images where that is possible, else by what it explains of the logits within the labels. A "
                "model of nothing but this cue reaches an accuracy of {reach:.3f} and the best simple model "
                "{best_reach:.3f} on the images where the network reaches {model_accuracy:.3f}."
            ),
            advice=(
                "Take the cue out of the inputs (total absorbance: divide each pixel's spectrum by its total), or add "
                "images in which it does not go with the label, and train again."
            ),
            warmup=2,
            persistence=3,
            source=(
                "measured on planted scenes with three architectures past chance (benchmarks/planted_findings.py): by "
                "exchange, .79 to 1.00 where the network leans on the cue and .00 to .33 where it does not (once .60 "
                "at one evaluation, on the way down); within the labels, .37 to .88 and up to .41, so that a cue that "
                "cannot be exchanged is named only where it is plain; the variance explained over all labels (.93 in a "
                "network that never sees the cue) and the information shared with a simple model are large wherever "
                "cue and label agree, and decide nothing"
            ),
        ),
        Rule(
            kind="representation_collapse",
            when=["failures/collapse/kept/* < 0.125"],
            clear=["failures/collapse/kept/* > 0.2"],
            evidence={
                "kept": "failures/collapse/kept/*",
                "dimensions_kept": "failures/collapse/dimensions_kept/*",
                "spread_kept": "failures/collapse/spread_kept/*",
                "effective_rank": "failures/collapse/effective_rank/*",
                "initial_effective_rank": "failures/collapse/initial/effective_rank/*",
                "mean_cosine": "failures/collapse/mean_cosine/*",
                "label_effective_rank": "failures/collapse/label_effective_rank",
            },
            message=(
                "The features of {subject} collapse: their effective rank, now {effective_rank:.1f}, is "
                "{dimensions_kept:.0%} of what the layer had and the task needs, and their angular spread is "
                "{spread_kept:.0%} of what it was (mean cosine {mean_cosine:.3f})."
            ),
            advice=(
                "Self-supervised: check the stop-gradient, the predictor and the normalisation; add a variance term. "
                "Supervised: lower the learning rate, and look for dead units and for a layer without normalisation."
            ),
            warmup=1,
            persistence=2,
            source=(
                "measured on the 8 x 8 digits, the lowest layer of each run: self-supervised without stop-gradient .02 "
                "to .11 (and .15 in one whose loss had hardly fallen), supervised with dead units .00; healthy "
                "self-supervised runs .14 and more, healthy supervised ones .20 and more at every evaluation"
            ),
        ),
        Rule(
            kind="class_collapse",
            when=["failures/collapse/class_share < 0.2"],
            clear=["failures/collapse/class_share > 0.4"],
            evidence={
                "class_share": "failures/collapse/class_share",
                "effective_classes": "failures/collapse/effective_classes",
                "label_classes": "failures/collapse/label_classes",
                "dominant_excess": "failures/collapse/dominant_excess",
                "accuracy": "failures/collapse/accuracy",
                "chance": "failures/collapse/chance",
            },
            message=(
                "Predictions fall on {effective_classes:.1f} effective classes where the labels have "
                "{label_classes:.1f}; one class is predicted {dominant_excess:.0%} of the images more often than it "
                "occurs, and the accuracy is {accuracy:.3f} where naming the most frequent class gives {chance:.3f}."
            ),
            advice="Lower the learning rate or warm it up; balance the classes in the batches or in the loss.",
            warmup=2,
            persistence=2,
            source="measured on the 8 x 8 digits: collapsed runs .00, healthy runs .36 and more from the third epoch",
        ),
        Rule(
            kind="single_band_reliance",
            when=[
                "failures/channels/share/* > 0.7",
                "failures/channels/change/* > 0.1",
                "failures/channels/bands >= 8",
            ],
            clear=["failures/channels/share/* <= 0.6"],
            evidence={
                "change": "failures/channels/change/*",
                "error": "failures/channels/error/*",
                "share": "failures/channels/share/*",
                "floor": "failures/channels/floor",
                "effective_bands": "failures/channels/effective_channels",
                "bands": "failures/channels/bands",
            },
            message=(
                "The model depends on one band: without {subject} its cross-entropy rises by {change:.2f} nats "
                "(standard error {error:.2f}), {share:.0%} of what all {bands:.0f} bands, replaced one at a time, "
                "amount to; the null floor is {floor:.2f}."
            ),
            advice=(
                "Ask whether that band can carry the task. Look there for an artefact of the instrument or the "
                "preparation; train again with the band left out or varied."
            ),
            severity="warning",
            warmup=2,
            persistence=2,
            source=(
                "measured on planted scenes in 16 bands (benchmarks/single_band.py), the largest share after the last "
                "epoch: .76 to .91 where one band is all there is to learn, .54 and .63 where it lies across two, .71 "
                "at most elsewhere; found in 8 of 10 such runs, the others lying across two, and in none of 12 others. "
                "With fewer than 8 bands a large share is no news"
            ),
        ),
        Rule(
            kind="factor_failure",
            when=["failures/factors/odds_low/* > 2", "failures/factors/p_value/* < 0.01"],
            clear=["failures/factors/odds_low/* <= 1.5"],
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
            persistence=3,
            source=(
                "the odds ratio, since the error ratio moves with accuracy; among 214 published ImageNet models above "
                ".5 accuracy its median is 3.7 on texture, 3.0 on subcategory, .6 to 1.7 on the easier eight factors"
            ),
        ),
        Rule(
            kind="factor_spillover",
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
            persistence=2,
            source=(
                "paired tests at 5%, Holm-adjusted over the factors, twice in a row; a ratio that rises while the "
                "factor's own errors fall is not called, since ratios move with accuracy in healthy runs"
            ),
        ),
    )
