"""What the logged figures about simple cues mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_NO_IMAGES = "no image with a label and a prediction of both, or too few training images"
_NO_PAIRS = "no pair of images with different predictions, or the exchange was not due"
_NO_RUNG = "the rung is undefined on the training images, or no image had labels"
_NOT_DUE = "no image with a label and a changed version, or its turn comes at a later evaluation"

_UNTAPPED = (
    Term(
        "model_accuracy",
        "Accuracy",
        "Accuracy of the network on the validation images that the linear reference predicts too; 16 pixels of each "
        "image where pixels are labelled.",
        "0 to 1",
        "higher is better",
        when_nan=_NO_IMAGES,
        headline=True,
    ),
    Term(
        "reference_accuracy",
        "Linear reference",
        "Accuracy on the same validation images of a linear model on each image's mean, fitted in closed form from "
        "sums over the training batches. It costs next to nothing.",
        "0 to 1",
        "a network below it leaves information unused",
        when_nan=_NO_IMAGES,
        headline=True,
    ),
    Term(
        "difference",
        "Difference from the linear reference",
        "Accuracy of the linear reference minus that of the network, image by image on the same images.",
        "-1 to 1",
        "above 0: the network leaves information unused",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "low",
        "Difference from the linear reference, lower end",
        "Lower end of the paired 95% interval of that difference.",
        "-1 to 1",
        "above 0: the network leaves information unused, by more than chance",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "high",
        "Difference from the linear reference, upper end",
        "Upper end of the paired 95% interval of that difference.",
        "-1 to 1",
        "below 0: the network is better, by more than chance",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "p_value",
        "p-value of that difference",
        "How often a difference this large would arise if both were equally good (McNemar's exact test).",
        "0 to 1",
        "small: the difference is real",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "images",
        "Images compared",
        "Validation images on which the network and the linear reference were compared; pixels where these are "
        "labelled.",
        "0 upwards",
        "few images give wide intervals",
        "images",
    ),
    Term(
        "chance",
        "Chance",
        "Share of the most frequent class of the training images: the accuracy of naming it always.",
        "1 over the number of classes, to 1",
        "an accuracy near it means that nothing was learned yet",
        when_nan="no training image with a label was seen before the evaluation",
    ),
)

_LADDER = (
    Term(
        "reach/*",
        "Reach of a rung",
        "Accuracy of one of the simple models on the ladder, fitted in closed form on sums over the training batches.",
        "0 to 1",
        "above the network: it leaves information unused",
        when_nan=_NO_RUNG,
    ),
    Term(
        "best_reach",
        "Reach of the best rung",
        "The largest accuracy on the ladder.",
        "0 to 1",
        "above that of the lowest rung that explains the network: more is there to be had",
        when_nan="no rung is defined",
    ),
    Term(
        "explained_adjusted/*",
        "Explained by a rung, less chance",
        "Share of the network's information on the labels that is gone once the rung's prediction is known, against "
        "the exact mean of rungs that have nothing to do with the network.",
        "at most 1, 0 by chance",
        "near 1: the network knows no more than the rung, or both know all",
        when_nan="no image with a label and both predictions, or predictions that say nothing of the labels",
    ),
    Term(
        "lowest_rung",
        "Lowest rung that explains the network",
        "Place on the ladder, from 0, of the simplest model that explains nine tenths of what the network knows.",
        "0 upwards",
        "describes; compare its reach with the best",
        "rungs",
        "no rung explains the network",
    ),
    Term(
        "lowest_reach",
        "Reach of the lowest rung that explains the network",
        "Its accuracy on the labels.",
        "0 to 1",
        "as high as the best reach: nothing simpler was missed",
        when_nan="no rung explains the network",
    ),
)

_CUES = (
    Term(
        "reliance/*",
        "Reliance on a cue",
        "Share of predictions that follow a simple cue when it alone is exchanged between two images. For a cue that "
        "cannot be exchanged, such as a scanner, what it explains of the logits, over all images and within one label, "
        "whichever is smaller.",
        "0 to 1",
        "near 1: this cue decides; near 0: it does not",
        when_nan="the exchange, or else what the cue explains, is undefined",
        headline=True,
    ),
    Term(
        "swap_own/*",
        "Cue exchanged (own)",
        "A donor image is scaled to the receiver's value of a cue. Share of pairs whose prediction then is the "
        "receiver's.",
        "0 to 1",
        "near 1: the cue decides",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "swap_low/*",
        "Cue exchanged (own), lower end",
        "Lower end of the 95% interval of that share.",
        "0 to 1",
        "near 1: the cue decides, by more than chance",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "swap_high/*",
        "Cue exchanged (own), upper end",
        "Upper end of the 95% interval of that share.",
        "0 to 1",
        "near 0: the cue does not decide",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "swap_donor/*",
        "Cue exchanged (donor)",
        "The same exchange: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "eta2/*",
        "Variance explained by a cue",
        "Share of the logits' variance between bins of the cue, less what chance gives.",
        "about 0 to 1",
        "large for every cue that goes with the labels; see within the labels",
        when_nan="fewer than two images, all of them in one bin of the cue, or constant logits",
    ),
    Term(
        "eta2_within/*",
        "Variance explained by a cue, within the labels",
        "The same among images of one label.",
        "about 0 to 1",
        "large together with the one over all labels: the network leans on the cue",
        when_nan="no label with two images in different bins of the cue, or constant logits within the labels",
    ),
)

_INTERCHANGE = (
    Term(
        "own/1",
        "Decided by one direction (own)",
        "A donor image is given the receiver's value on the main direction of variation of the data, one number an "
        "image. Share of pairs whose prediction then is the receiver's.",
        "0 to 1",
        "near 1: one number decides; near 0: the rest of the image does",
        when_nan=_NO_PAIRS,
        headline=True,
    ),
    Term(
        "own/*",
        "Decided by several directions (own)",
        "The exchange on the first 2, 4 or 8 directions: share of pairs whose prediction becomes the receiver's.",
        "0 to 1",
        "describes how many numbers an image decide",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "own_low/*",
        "Decided by so many directions (own), lower end",
        "Lower end of the 95% interval of that share, by number of directions.",
        "0 to 1",
        "near 1: these directions decide, by more than chance",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "own_high/*",
        "Decided by so many directions (own), upper end",
        "Upper end of the 95% interval of that share, by number of directions.",
        "0 to 1",
        "near 0: these directions do not decide",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "donor/1",
        "Decided by the rest (donor)",
        "The exchange on one direction: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "pairs",
        "Pairs of the exchange",
        "Pairs of images, or of pixels where these are labelled, whose own predictions differ; only these count.",
        "0 upwards",
        "few pairs give wide intervals",
        "pairs",
    ),
    Term(
        "decision_dimension",
        "Decision dimension",
        "The smallest number of main directions of the images' mean spectra which, given to a donor image, bring the "
        "receiver's prediction along in nine of ten pairs.",
        "1 to 8",
        "1: decisions hang on one number an image",
        "directions",
        f"8 directions are not enough, {_NO_PAIRS}",
    ),
    Term(
        "pixel_own/*",
        "Decided by directions of pixels (own)",
        "The exchange in every pixel's own spectrum: share of pairs whose prediction becomes the receiver's.",
        "0 to 1",
        "describes how many spectral directions decide",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "pixel_own_low/*",
        "Decided by directions of pixels (own), lower end",
        "Lower end of the 95% interval of that share.",
        "0 to 1",
        "near 1: these directions decide, by more than chance",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "pixel_own_high/*",
        "Decided by directions of pixels (own), upper end",
        "Upper end of the 95% interval of that share.",
        "0 to 1",
        "near 0: these directions do not decide",
        when_nan=_NO_PAIRS,
    ),
    Term(
        "pixel_decision_dimension",
        "Decision dimension of pixels",
        "The decision dimension in every pixel's own spectrum.",
        "1 to 8",
        "1 is right where colour says nothing, as in grey digits",
        "directions",
        f"8 directions are not enough, {_NO_PAIRS}",
    ),
)

_RETENTION = (
    Term(
        "changed_accuracy/*",
        "Accuracy on changed images",
        "Pixels in random order; the mean spectrum everywhere; intensity alone or removed; Gaussian clones of each "
        "class.",
        "0 to 1",
        "near the accuracy: what was removed does not matter",
        when_nan=_NOT_DUE,
    ),
    Term(
        "retained/*",
        "Retained by changed images",
        "What these images keep of the accuracy above chance.",
        "1 keeps all, 0 leaves chance",
        "describes what the network uses",
        when_nan=f"an accuracy that is not above chance, {_NOT_DUE}",
    ),
    Term(
        "lost/*",
        "Lost without a ring of frequencies",
        "Accuracy minus that on images without one ring of spatial frequencies; all rings hold equal energy.",
        "-1 to 1",
        "far above 0: the network needs these frequencies",
        when_nan=_NOT_DUE,
    ),
    Term(
        "lost_low/*",
        "Lost without a ring of frequencies, lower end",
        "Lower end of the paired 95% interval of that loss.",
        "-1 to 1",
        "above 0: the loss is more than chance",
        when_nan=_NOT_DUE,
    ),
    Term(
        "lost_high/*",
        "Lost without a ring of frequencies, upper end",
        "Upper end of the paired 95% interval of that loss.",
        "-1 to 1",
        "near 0: nothing is lost",
        when_nan=_NOT_DUE,
    ),
    Term(
        "patch_sensitivity",
        "Patch sensitivity",
        "How much the predicted probabilities move when one of 16 patches becomes noise.",
        "0 to 1",
        "describes; low where no single place matters",
        when_nan="no images, or its turn comes at a later evaluation",
    ),
)

TERMS: tuple[Term, ...] = (*_UNTAPPED, *_CUES, *_INTERCHANGE, *_LADDER, *_RETENTION)
