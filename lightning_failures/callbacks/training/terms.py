"""What the logged figures about the training step mean."""

from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_NO_LOOK = "no training step was looked at since the evaluation before, or the weights are spread over processes"
_NO_THIRD = "the last third of the run is of fewer than eight finite losses"
_NO_LOSS = "the training step returned no finite loss of one number"
_STEP = "0 upwards"


def _first(kind: str, name: str, meaning: str) -> Term:
    """Of the first number of a run that was not finite; logged from the evaluation on that finds it."""
    return Term(f"not_finite_{kind}/*", name, f"{meaning} Logged once there is one.", _STEP, "must not be", "steps")


_FINITE = (
    Term(
        "not_finite",
        "Share that is not finite",
        "The larger of two shares since the evaluation before: of training losses, and of evaluated images whose "
        "scores hold NaN or infinity.",
        "0 to 1",
        "0; everything above is a failure",
        when_nan=f"{_NO_LOSS}, and no evaluated batch could be read",
        headline=True,
    ),
    Term(
        "loss_not_finite",
        "Share of losses that are not finite",
        "Share of the losses that the training step returned since the evaluation before that are NaN or infinite. "
        "Logged where this or the next two are above 0.",
        "0 to 1",
        "0; everything above is a failure",
        when_nan="the training step returned no loss of one number",
    ),
    Term(
        "logits_not_finite",
        "Share of images whose logits are not finite",
        "Share of the evaluated images of whose logits, or errors, one at least is NaN or infinite. "
        "Logged where one of the three is above 0.",
        "0 to 1",
        "0; everything above is a failure",
        when_nan="no batch of the evaluation could be read",
    ),
    Term(
        "inputs_not_finite",
        "Share of images whose inputs are not finite",
        "Share of the evaluated images that hold a NaN or infinite number. Logged where one of the three is above 0.",
        "0 to 1",
        "0, unless the network itself fills in what is missing",
        when_nan="no batch of the evaluation could be read",
    ),
    _first(
        "input",
        "Step of the first inputs that were not finite",
        "The step whose batch of training or validation held NaN or infinity, after which nothing was finite.",
    ),
    _first(
        "weight",
        "Step at which a weight was not finite",
        "The step that began with a parameter or a buffer that holds NaN or infinity, while its inputs were finite.",
    ),
    _first(
        "activation",
        "Step at which a layer gave what is not finite",
        "The step in which the layer was the first to give NaN or infinity, while inputs and weights were finite.",
    ),
    _first(
        "loss",
        "Step of the first loss that was not finite",
        "The step whose loss was NaN or infinite, while no layer is known that gave such a number.",
    ),
    _first(
        "gradient",
        "Step at which a gradient was not finite",
        "The step whose gradient of that parameter was NaN or infinite, while the loss was finite.",
    ),
)

_UPDATES = (
    Term(
        "update_ratio/median",
        "Median update over weight",
        "Root mean square of what the optimizer's step changed of a weight over that of the weight itself: mean over "
        "the steps that were looked at since the evaluation before, median over the weights with two axes or more that "
        "have moved. From 256 numbers of each.",
        "0 upwards",
        "about 0.001 is ordinary; above 0.1 the weights are others after ten steps",
        when_nan=_NO_LOOK,
        headline=True,
    ),
    Term(
        "update_ratio/smallest",
        "Smallest update over weight",
        "That of the weight which moves least.",
        "0 upwards",
        "describes",
        when_nan=_NO_LOOK,
    ),
    Term(
        "update_ratio/largest",
        "Largest update over weight",
        "That of the weight which moves most.",
        "0 upwards",
        "describes",
        when_nan=_NO_LOOK,
    ),
    Term(
        "distance/median",
        "Distance from the start",
        "Root mean square of the difference between a weight now and at the start of the run, or "
        "where it was resumed, over that of the weight there; median over the weights with two "
        "axes or more that require a gradient.",
        "0 upwards",
        "0.1 and less after a whole run from random weights: the learning rate was too small",
        when_nan=_NO_LOOK,
    ),
    Term(
        "learning_rate",
        "Learning rate",
        "The largest of the groups of all optimizers, at the evaluation.",
        "0 upwards",
        "describes",
        when_nan="no optimizer is known that has one",
    ),
)

_PARAMETERS = (
    Term(
        "frozen",
        "Share that is frozen",
        "Share of the numbers in the module's parameters that require no gradient.",
        "0 to 1",
        "above 0: a part of the network is not trained, as in transfer learning; is that meant?",
    ),
    Term(
        "never_moved",
        "Share that never moved",
        "Share of the numbers that require a gradient and are in tensors that are what they were when the run began.",
        "0 to 1",
        "0; above it something is not trained that was to be",
        when_nan="no parameter requires a gradient",
        headline=True,
    ),
    Term(
        "never_moved/*",
        "Parameters that never moved",
        "Number of tensors, under the name of the deepest module that holds them all, which never moved since the run "
        "began though they got a gradient and an optimizer holds them. Logged where there are any.",
        "1 upwards",
        "must not be",
        "tensors",
    ),
    Term(
        "never_moved_weights",
        "Weights that never moved",
        "Number of tensors with two dimensions or more, which are weights of layers and no biases or scales, among "
        "those that never moved since the run began though they got a gradient and an optimizer holds them.",
        "0 upwards",
        "0; above it a layer is not trained that was to be",
        "tensors",
        when_nan="no gradient was seen yet",
    ),
    Term(
        "without_gradient",
        "Share without a gradient",
        "Share of the numbers that require a gradient of those which an optimizer holds and which had none at any step "
        "that was looked at since the run began.",
        "0 to 1",
        "0; above it a part of the network has no part in the loss",
        when_nan="no step was looked at in which a gradient was still there",
    ),
    Term(
        "without_gradient/*",
        "Parameters without a gradient",
        "Number of such tensors, under the name of the deepest module that holds them all. Logged where there are any.",
        "1 upwards",
        "is a part of the network meant to have no part in the loss?",
        "tensors",
    ),
    Term(
        "not_in_optimizer",
        "Share in no optimizer",
        "Share of the numbers that require a gradient which no optimizer holds.",
        "0 to 1",
        "0, unless a part is kept as it is by leaving it out",
        when_nan="no optimizer is known",
    ),
    Term(
        "not_in_optimizer/*",
        "Parameters in no optimizer",
        "Number of tensors that got a gradient and that no optimizer holds, under the name of the deepest module that "
        "holds them all. Logged where there are any.",
        "1 upwards",
        "must not be, unless a part is kept as it is by leaving it out",
        "tensors",
    ),
    Term(
        "stale_parameters",
        "Stale parameters in an optimizer",
        "Number of tensors that an optimizer holds, that the module does not have, and that never had a gradient.",
        "0 upwards",
        "0; above it the optimizer was built before the module was changed",
        "tensors",
        "no optimizer is known, or no step was looked at",
    ),
)

_GRADIENTS = (
    Term(
        "gradient_survives",
        "Steps with the gradient of the step before",
        "Share of the steps looked at since the evaluation before whose every backward pass began with the gradient "
        "that the optimizer's step before had used.",
        "0 to 1",
        "0; above it zero_grad is forgotten",
        when_nan="no two steps in a row were looked at of whose backward passes anybody told",
    ),
    Term(
        "dead_units",
        "Dead units in the worst layer",
        "Share of the units of a layer whose bias got a gradient of exactly 0 at all steps that were looked at since "
        "the evaluation before: nothing comes back to them from any image. That of the layer with most.",
        "0 to 1",
        "lower is better; near 1 the layer learns nothing any more",
        when_nan="no bias had a gradient at a step that was looked at",
        headline=True,
    ),
    Term(
        "dead_units/*",
        "Dead units of a layer",
        "The same share of one layer. Logged from the first evaluation on at which it is 0.1 or more.",
        "0 to 1",
        "lower is better; near 1 the layer learns nothing any more",
    ),
    Term(
        "dead_outputs",
        "Dead outputs",
        "Share of the outputs of the last linear layer, one for each class, whose bias got a gradient of exactly 0 at "
        "all steps that were looked at since the evaluation before.",
        "0 to 1",
        "0 is good; above it: these classes cannot be learnt",
        when_nan="no last linear layer with a bias was found, or it had no gradient at a step that was looked at",
    ),
    Term(
        "duplicate_units",
        "Duplicate units in the worst layer",
        "Share of the pairs of units of a layer whose weights have a cosine above 0.99, from 128 units and 64 of their "
        "inputs at most; layers whose units have fewer than 32 inputs are left out. That of the layer with most.",
        "0 to 1",
        "0 is good; 1: all units compute the same",
        when_nan="no layer has two units with 32 inputs or more",
    ),
    Term(
        "duplicate_units/*",
        "Duplicate units of a layer",
        "The same share of one layer. Logged from the first evaluation on at which it is 0.1 or more.",
        "0 to 1",
        "0 is good; 1: all units compute the same",
    ),
)

_LOSS = (
    Term(
        "loss",
        "Training loss",
        "Mean of the finite losses that the training step returned since the evaluation before.",
        "any number",
        "falls",
        when_nan=_NO_LOSS,
        headline=True,
    ),
    Term(
        "loss_initial",
        "First loss",
        "Mean of the first three losses of the run.",
        "any number",
        "describes",
        "",
        _NO_LOSS,
    ),
    Term(
        "loss_ratio",
        "Loss over the first loss",
        "Training loss since the evaluation before over the mean of the first three losses of the run.",
        "any number",
        "falls; well above 1 the training has gone astray",
        when_nan="the first losses are not above 0, or there is no finite one since the evaluation before",
    ),
    Term(
        "loss_slope",
        "Slope of the loss",
        "What a straight line through the losses of the last third of the run's steps changes by over that third, over "
        "the size of their mean.",
        "any number",
        "below 0: the loss still falls",
        when_nan=_NO_THIRD,
    ),
    Term(
        "loss_slope_low",
        "Slope of the loss, lower bound",
        "Lower end of its 95% interval.",
        "any number",
        "describes",
        when_nan=_NO_THIRD,
    ),
    Term(
        "loss_slope_high",
        "Slope of the loss, upper bound",
        "Upper end of its 95% interval.",
        "any number",
        "below 0: the loss still falls beyond doubt",
        when_nan=_NO_THIRD,
    ),
    Term(
        "loss_straightness",
        "Straightness of the loss",
        "Slope of the loss in the last third of the run's steps over that in the whole run.",
        "any number",
        "near 1: it falls in a straight line still; near 0: it has flattened",
        when_nan=_NO_THIRD,
    ),
    Term(
        "loss_noise",
        "Scatter of the loss",
        "Spread of the loss from one step to the next over the size of its mean, in the last third of the run's steps.",
        "0 upwards",
        "describes; large and no fall: the learning rate is too large",
        when_nan=_NO_THIRD,
    ),
)

TERMS: tuple[Term, ...] = (*_FINITE, *_UPDATES, *_PARAMETERS, *_GRADIENTS, *_LOSS)
