"""What counts as a fault of the training step; each threshold has its reason beside it."""

from lightning_failures.records.kind import NOT_FINITE
from lightning_failures.records.rule import Rule

__all__ = ["RULES"]

KEY = "failures/training/"


def _not_finite(kind: str, message: str, advice: str) -> Rule:
    """That the first number which was not finite was of this kind."""
    return Rule(
        kind=NOT_FINITE,
        name=f"not_finite_{kind}",
        when=[f"{KEY}not_finite_{kind}/* >= 0", f"{KEY}not_finite > 0"],
        clear=[f"{KEY}not_finite <= 0"],
        evidence={
            "at_step": f"{KEY}not_finite_{kind}/*",
            "not_finite": f"{KEY}not_finite",
            "losses": f"{KEY}loss_not_finite",
            "images": f"{KEY}logits_not_finite",
            "inputs": f"{KEY}inputs_not_finite",
        },
        message=message,
        advice=advice,
        warmup=0,
        persistence=1,
        source="no training goes on from a number that is not finite, and no evaluation can count it",
    )


RULES = (
    _not_finite(
        "input",
        "The {subject} images are not finite: at step {at_step:.0f} a batch held NaN or infinity, and since the "
        "evaluation before {losses:.0%} of the training losses and the predictions of {images:.0%} of the evaluated "
        "images are not finite; {inputs:.0%} of the evaluated images hold such numbers themselves.",
        "Look for NaN in the files and for a division by zero in the transform, such as the deviation of a constant "
        "channel: torch.isfinite(x).all() in the dataset's __getitem__ names the image. Leave it out, or fill it in. "
        "Then begin again from a checkpoint before that step.",
    ),
    _not_finite(
        "weight",
        "The parameter or buffer {subject} is not finite: at step {at_step:.0f} it held NaN or infinity while the "
        "inputs were finite. Since the evaluation before {losses:.0%} of the training losses and the predictions of "
        "{images:.0%} of the evaluated images are not finite.",
        "The update before that step spoilt it: lower the learning rate, warm it up, or clip the gradients "
        "(Trainer(gradient_clip_val=1.0)). Look also for code of your own that writes to the weights. Begin again from "
        "a checkpoint before that step.",
    ),
    _not_finite(
        "activation",
        "The layer {subject} gives numbers that are not finite: at step {at_step:.0f} its inputs and all weights were "
        "finite, and its output was not. Since the evaluation before {losses:.0%} of the training losses and the "
        "predictions of {images:.0%} of the evaluated images are not finite.",
        "Look in that layer for a division, a logarithm, a root or an exponential without a bound, and for 16-bit "
        "numbers beyond 65504 (precision='bf16-mixed' has room for them). Begin again from a checkpoint before that "
        "step.",
    ),
    _not_finite(
        "loss",
        "The training loss is not finite: at step {at_step:.0f} it was NaN or infinite, and no layer is known that "
        "gave such a number before it. Since the evaluation before {losses:.0%} of the training losses and the "
        "predictions of {images:.0%} of the evaluated images are not finite.",
        "Look in the loss for the logarithm of 0, a division by the number of images that count (none in a batch), and "
        "a target outside of its range. On an accelerator, run the epoch once with Trainer(accelerator='cpu'), which "
        "names the layer.",
    ),
    _not_finite(
        "gradient",
        "The gradient of {subject} is not finite: at step {at_step:.0f} the loss was finite, and its gradient was not. "
        "Since the evaluation before {losses:.0%} of the training losses and the predictions of {images:.0%} of the "
        "evaluated images are not finite.",
        "Look after that parameter for the root, the norm or the standard deviation of something that is 0, whose "
        "derivative is infinite: add a small number inside of it. Begin again from a checkpoint before that step.",
    ),
)
