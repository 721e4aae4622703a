"""What counts as a fault of the training step; each threshold has its reason beside it."""

from lightning_failures.records.kind import NOT_FINITE, TRAINING_FAULT
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

KEY = "failures/training/"

SINCE = (
    "Since the evaluation before, {losses:.2%} of the training losses were not finite, and now the predictions of "
    "{images:.2%} of the evaluated images are not."
)


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
        "The {subject} images are not finite: at step {at_step:.0f} a batch held NaN or infinity. Such numbers are in "
        "{inputs:.2%} of the evaluated images. " + SINCE,
        "Look for NaN in the files and for a division by zero in the transform, such as the deviation of a constant "
        "channel: torch.isfinite(x).all() in the dataset's __getitem__ names the image. Leave it out, or fill it in. "
        "Where training images hold them, begin again from a checkpoint before that step.",
    ),
    _not_finite(
        "weight",
        "The parameter or buffer {subject} is not finite: at step {at_step:.0f} it held NaN or infinity while the "
        "inputs were finite. " + SINCE,
        "The update before that step spoilt it: lower the learning rate, warm it up, or clip the gradients "
        "(Trainer(gradient_clip_val=1.0)). Look also for code of your own that writes to the weights. Begin again from "
        "a checkpoint before that step.",
    ),
    _not_finite(
        "activation",
        "The layer {subject} gives numbers that are not finite: at step {at_step:.0f} its inputs and all weights were "
        "finite, and its output was not. " + SINCE,
        "Look in that layer for a division, a logarithm, a root or an exponential without a bound, and for 16-bit "
        "numbers beyond 65504 (precision='bf16-mixed' has room for them). Begin again from a checkpoint before that "
        "step.",
    ),
    _not_finite(
        "loss",
        "The training loss is not finite: at step {at_step:.0f} it was NaN or infinite, and no layer is known that "
        "gave such a number before it. " + SINCE,
        "Look in the loss for the logarithm of 0, a division by the number of images that count (none in a batch), and "
        "a target outside of its range. On an accelerator, run the epoch once with Trainer(accelerator='cpu'), which "
        "names the layer.",
    ),
    _not_finite(
        "gradient",
        "The gradient of {subject} is not finite: at step {at_step:.0f} the loss was finite, and its gradient was not. "
        + SINCE,
        "Look after that parameter for the root, the norm or the standard deviation of something that is 0, whose "
        "derivative is infinite: add a small number inside of it. Begin again from a checkpoint before that step.",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="gradient_survives",
        when=[f"{KEY}gradient_survives > 0.5"],
        clear=[f"{KEY}gradient_survives <= 0"],
        evidence={"share": f"{KEY}gradient_survives", "loss": f"{KEY}loss", "loss_initial": f"{KEY}loss_initial"},
        message=(
            "Gradients are never set back to zero: in {share:.0%} of the steps looked at the backward pass began with "
            "the gradient of the step before, so that each step adds up all gradients of the run."
        ),
        advice=(
            "Call optimizer.zero_grad() before the backward pass of each step, or after each optimizer.step(); in "
            "automatic optimization do not override optimizer_zero_grad with a method that does nothing."
        ),
        warmup=0,
        persistence=1,
        source=(
            "a step that begins without the old gradient is none of these, be it one of several optimizers or one that "
            "accumulates: the share is 0 in all runs that set gradients back, 1 in all that do not"
        ),
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="stale_optimizer",
        when=[f"{KEY}not_in_optimizer/* >= 1", f"{KEY}stale_parameters >= 1"],
        evidence={
            "outside": f"{KEY}not_in_optimizer/*",
            "stale": f"{KEY}stale_parameters",
            "share": f"{KEY}not_in_optimizer",
        },
        message=(
            "The optimizer holds parameters that the module no longer has: {stale:.0f} tensors of it never get a "
            "gradient, while {outside:.0f} that do, in {subject}, are in no optimizer and stay as they are "
            "({share:.0%} of the numbers to be trained)."
        ),
        advice=(
            "Build the optimizer after the last layer is made or replaced: in configure_optimizers, from "
            "self.parameters(). Replace heads in __init__ or in configure_model, which come before it."
        ),
        warmup=0,
        persistence=1,
        source="counted both ways, over gradients that were seen; neither happens by choice together with the other",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="not_in_optimizer",
        when=[f"{KEY}not_in_optimizer/* >= 1", f"{KEY}stale_parameters <= 0"],
        evidence={"tensors": f"{KEY}not_in_optimizer/*", "share": f"{KEY}not_in_optimizer"},
        message=(
            "{tensors:.0f} parameters in {subject} require a gradient and get one, and no optimizer holds them: "
            "{share:.0%} of the numbers that require a gradient stay as they are."
        ),
        advice=(
            "If they are meant to learn, build the optimizer from self.parameters(). If they are meant to stay, say so "
            "with requires_grad_(False), which also saves their backward pass."
        ),
        severity="watch",
        warmup=0,
        persistence=2,
        source="it may be meant, as where a backbone is kept by giving the optimizer the head alone",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="never_moved",
        when=[f"{KEY}never_moved/* >= 1"],
        evidence={
            "tensors": f"{KEY}never_moved/*",
            "share": f"{KEY}never_moved",
            "learning_rate": f"{KEY}learning_rate",
        },
        message=(
            "{tensors:.0f} parameters in {subject} get gradients, and an optimizer holds them, yet they are to the "
            "last digit what they were when the run began; {share:.2%} of the numbers that require a gradient never "
            "moved. The largest learning rate is {learning_rate:.2g}."
        ),
        advice=(
            "Look at the learning rate of their group and at the scheduler that sets it (0?), and whether "
            "optimizer.step() is called. Weights in bfloat16 cannot move by less than a 256th of themselves: keep them "
            "in float32 (precision='bf16-mixed')."
        ),
        severity="watch",
        severe_when={"failure": f"{KEY}never_moved_weights >= 1"},
        warmup=0,
        persistence=3,  # a learning rate that rises from 0 may take the first epoch
        source=(
            "exact: the sums over all numbers of each are the same in float64; a step of any size changes them. A bias "
            "or the scale of a norm alone may have steps below its last digit, and keeps no network from learning"
        ),
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="frozen_features",
        when=[
            f"{KEY}frozen > 0.5",
            "failures/simplicity/best_reach > failures/simplicity/model_accuracy + 0.1",
        ],
        clear=["failures/simplicity/best_reach <= failures/simplicity/model_accuracy + 0.02"],
        evidence={
            "frozen": f"{KEY}frozen",
            "model_accuracy": "failures/simplicity/model_accuracy",
            "best_reach": "failures/simplicity/best_reach",
            "images": "failures/simplicity/images",
        },
        message=(
            "{frozen:.0%} of the network's weights are frozen (requires_grad is False), and with the features that "
            "they give it does worse than a simple model of the images themselves: its accuracy is "
            "{model_accuracy:.3f}, that of the simple model {best_reach:.3f}, on the same {images:.0f} images."
        ),
        advice=(
            "If pretrained weights were to be loaded, look whether they were, and whether the images are prepared as "
            "those weights expect. If the frozen part is to learn, call requires_grad_(True) on it before the "
            "optimizer is built."
        ),
        severity="warning",
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on digits: a pretrained backbone gives its head 0.16 and more above what simple models of the "
            "pixels reach from the first epoch on, 0.3 in the end; a random one that is frozen 0.1 to 0.3 less for "
            "most of a run"
        ),
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="without_gradient",
        when=[f"{KEY}without_gradient/* >= 1"],
        evidence={"tensors": f"{KEY}without_gradient/*", "share": f"{KEY}without_gradient"},
        message=(
            "{tensors:.0f} parameters in {subject} require a gradient and never got one at any step looked at: they "
            "have no part in the loss ({share:.0%} of the numbers that require a gradient)."
        ),
        advice=(
            "If they are meant to learn, look for a detach(), a torch.no_grad() or a layer that forward never calls. "
            "If not, leave them out, or say so with requires_grad_(False)."
        ),
        severity="watch",
        warmup=0,
        persistence=2,
        source="it may be meant, as with a head of a pretrained network that is not used",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="dead_units",
        when=[f"{KEY}dead_units/* > 0.75"],
        clear=[f"{KEY}dead_units/* < 0.5"],
        evidence={
            "share": f"{KEY}dead_units/*",
            "most": f"{KEY}dead_units",
            "loss": f"{KEY}loss",
            "loss_initial": f"{KEY}loss_initial",
        },
        message=(
            "{share:.0%} of the units of {subject} are dead: at no step looked at did any image send a gradient back "
            "to them. The training loss is {loss:.3g}, and was {loss_initial:.3g} in the first steps."
        ),
        advice=(
            "A step too large has pushed them below the rectifier for every image: lower the learning rate or warm it "
            "up, clip the gradients, and begin again from a checkpoint before it. Normalisation before the rectifier, "
            "or LeakyReLU, keeps them alive."
        ),
        severity="warning",
        warmup=1,
        warmup_steps=STEPS_TO_LEARN,
        persistence=2,
        source=(
            "measured on the 8 x 8 digits: 0.84 and more in a layer where a large step killed the rectifiers, 0.31 at "
            "most before it, 0 in networks with batch norm"
        ),
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="duplicate_units",
        when=[f"{KEY}duplicate_units/* > 0.5"],
        evidence={"share": f"{KEY}duplicate_units/*"},
        message=(
            "The units of {subject} compute the same: the weights of {share:.0%} of their pairs point the same way "
            "(cosine above 0.99), so that the layer is as good as one of few units."
        ),
        advice=(
            "Look at how the layer is initialised: units that begin alike get the same gradient and stay alike "
            "(torch.nn.init.constant_, zeros_). Draw the weights at random, as torch does by default."
        ),
        severity="warning",
        warmup=0,
        persistence=2,
        source="0 at random and in all healthy networks on the 8 x 8 digits, 1 where all units begin alike",
    ),
    Rule(
        kind=TRAINING_FAULT,
        name="training_diverges",
        when=[f"{KEY}loss_ratio > 10"],
        clear=[f"{KEY}loss_ratio < 2"],
        evidence={
            "ratio": f"{KEY}loss_ratio",
            "loss": f"{KEY}loss",
            "loss_initial": f"{KEY}loss_initial",
            "update_ratio": f"{KEY}update_ratio/median",
            "distance": f"{KEY}distance/median",
        },
        message=(
            "The training loss is {loss:.3g}, {ratio:.0f} times what it was in the first steps ({loss_initial:.3g}): "
            "training diverges. A weight has moved by {distance:.2g} times its own size from where it began."
        ),
        advice=(
            "Lower the learning rate, warm it up, or clip the gradients (Trainer(gradient_clip_val=1.0)), and begin "
            "again from a checkpoint before the loss rose. Look for a batch with targets or inputs out of their range."
        ),
        warmup=0,
        persistence=2,
        source="a loss above 10 times that of an untrained network says nothing that guessing would not say better",
    ),
)
