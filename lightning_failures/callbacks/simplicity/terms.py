"""What the logged figures about simple cues mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

TERMS: tuple[Term, ...] = (
    Term(
        "reference_accuracy",
        "Linear reference",
        "Accuracy on the same validation images of a linear model on each image's mean, fitted in closed form from "
        "sums over the training batches. It costs next to nothing.",
        "0 to 1",
        "a network below it leaves information unused",
    ),
    Term(
        "difference",
        "Difference from the linear reference",
        "Difference in accuracy between the network and the linear reference, image by image on the same images, "
        "with its 95% interval.",
        "-1 to 1",
        "an interval that excludes 0 is more than chance",
    ),
    Term(
        "p_value",
        "p-value of that difference",
        "How often a difference this large would arise if both were equally good.",
        "0 to 1",
        "small: the difference is real",
    ),
    Term(
        "own/1",
        "Decided by one direction (own)",
        "A donor image is given the receiver's value on the main direction of variation of the data, one number an "
        "image. Share of pairs whose prediction then is the receiver's.",
        "0 to 1",
        "near 1: one number decides; near 0: the rest of the image does",
    ),
    Term(
        "donor/1",
        "Decided by the rest (donor)",
        "The same exchange: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
    ),
    Term(
        "reliance/*",
        "Reliance on a cue",
        "Share of predictions that follow a simple cue when it alone is exchanged between two images. For a cue that "
        "cannot be exchanged, such as a scanner, what it explains of the logits, over all images and within one label, "
        "whichever is smaller.",
        "0 to 1",
        "near 1: this cue decides; near 0: it does not",
    ),
    Term(
        "swap_own/*",
        "Cue exchanged (own)",
        "A donor image is scaled to the receiver's value of a cue. Share of pairs whose prediction then is the "
        "receiver's.",
        "0 to 1",
        "near 1: the cue decides",
    ),
    Term(
        "swap_donor/*",
        "Cue exchanged (donor)",
        "The same exchange: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
    ),
    Term(
        "decision_dimension",
        "Decision dimension",
        "The smallest number of main directions of the images' mean spectra which, given to a donor image, bring the "
        "receiver's prediction along in nine of ten pairs.",
        "1 to 8; undefined where 8 are not enough",
        "1: decisions hang on one number an image",
    ),
    Term(
        "own/*",
        "Decided by several directions (own)",
        "The exchange on the first 1, 2, 4 or 8 directions: share of pairs whose prediction becomes the receiver's.",
        "0 to 1",
        "describes how many numbers an image decide",
    ),
    Term(
        "pixel_own/*",
        "Decided by directions of pixels (own)",
        "The exchange in every pixel's own spectrum: share of pairs whose prediction becomes the receiver's.",
        "0 to 1",
        "describes how many spectral directions decide",
    ),
    Term(
        "pixel_decision_dimension",
        "Decision dimension of pixels",
        "The decision dimension in every pixel's own spectrum.",
        "1 to 8; undefined where 8 are not enough",
        "1 is right where colour says nothing, as in grey digits",
    ),
    Term(
        "reach/*",
        "Reach of a rung",
        "Accuracy of one of the simple models on the ladder, fitted in closed form on sums over the training batches.",
        "0 to 1",
        "above the network: it leaves information unused",
    ),
    Term(
        "best_reach",
        "Reach of the best rung",
        "The largest accuracy on the ladder.",
        "0 to 1",
        "above that of the lowest rung that explains the network: more is there to be had",
    ),
    Term(
        "lowest_rung",
        "Lowest rung that explains the network",
        "Place on the ladder, from 0, of the simplest model that explains nine tenths of what the network knows.",
        "0 upwards; undefined where none does",
        "describes; compare its reach with the best",
    ),
    Term(
        "lowest_reach",
        "Reach of that rung",
        "Its accuracy on the labels.",
        "0 to 1",
        "as high as the best reach: nothing simpler was missed",
    ),
    Term(
        "explained/*",
        "Explained by a rung",
        "Share of the network's information on the labels that is gone once the rung's prediction is known.",
        "at most 1",
        "near 1: the network knows no more than the rung, or both know all",
    ),
    Term(
        "explained_adjusted/*",
        "Explained by a rung, less chance",
        "The same against the exact mean of rungs that have nothing to do with the network.",
        "at most 1, 0 by chance",
        "near 1: the network knows no more than the rung, or both know all",
    ),
    Term(
        "eta2/*",
        "Variance explained by a cue",
        "Share of the logits' variance between bins of the cue, less what chance gives.",
        "about 0 to 1",
        "large for every cue that goes with the labels; see within the labels",
    ),
    Term(
        "eta2_within/*",
        "Variance explained by a cue, within the labels",
        "The same among images of one label.",
        "about 0 to 1",
        "large together with the one over all labels: the network leans on the cue",
    ),
    Term(
        "changed_accuracy/*",
        "Accuracy on changed images",
        "Pixels in random order; the mean spectrum everywhere; intensity alone or removed; without one ring of spatial "
        "frequencies; Gaussian clones of each class.",
        "0 to 1",
        "near the accuracy: what was removed does not matter",
    ),
    Term(
        "retained/*",
        "Retained by changed images",
        "What these images keep of the accuracy above chance.",
        "1 keeps all, 0 leaves chance",
        "describes what the network uses",
    ),
    Term(
        "lost/*",
        "Lost on changed images",
        "Accuracy minus the one on these images, with its paired 95% interval.",
        "-1 to 1",
        "describes what the network uses",
    ),
    Term(
        "patch_sensitivity",
        "Patch sensitivity",
        "How much the predicted probabilities move when one of 16 patches becomes noise.",
        "0 to 1",
        "describes; low where no single place matters",
    ),
    Term(
        "chance",
        "Chance",
        "Accuracy of always naming the most frequent class.",
        "0 to 1",
        "an accuracy near it means that nothing was learned yet",
    ),
)
