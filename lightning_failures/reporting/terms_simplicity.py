"""What the logged figures about simple cues mean."""

from lightning_failures.reporting.terms import Term

__all__ = ["SIMPLICITY"]

_HERE = "failures/simplicity/"

SIMPLICITY = (
    Term(
        _HERE + "reference_accuracy",
        "Linear reference",
        "Accuracy on the same validation images of a linear model on each image's mean, fitted in closed form from "
        "sums over the training batches. It costs next to nothing.",
        "0 to 1",
        "a network below it leaves information unused",
    ),
    Term(
        _HERE + "difference",
        "Difference from the linear reference",
        "Difference in accuracy between the network and the linear reference, image by image on the same images, "
        "with its 95% interval.",
        "-1 to 1",
        "an interval that excludes 0 is more than chance",
    ),
    Term(
        _HERE + "p_value",
        "p-value of that difference",
        "How often a difference this large would arise if both were equally good.",
        "0 to 1",
        "small: the difference is real",
    ),
    Term(
        _HERE + "own/1",
        "Decided by one direction (own)",
        "A donor image is given the receiver's value on the main direction of variation of the data, one number an "
        "image. Share of pairs whose prediction then is the receiver's.",
        "0 to 1",
        "near 1: one number decides; near 0: the rest of the image does",
    ),
    Term(
        _HERE + "donor/1",
        "Decided by the rest (donor)",
        "The same exchange: share of pairs whose prediction stays the donor's.",
        "0 to 1",
        "near 1 is healthy",
    ),
)
