"""What the logged figures about causes mean."""

from lightning_failures.metrics.generalisation import GeneralisationGap
from lightning_failures.metrics.mending import MENDING_TERMS, MendedAccuracy
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["TERMS"]

_NOT_COMPARED = "the inputs of training and validation were not compared yet"
_NOT_UNDONE = "the experiment was not made: there was no time, or validation in training mode lets nobody tell"

_AT_FAULT = "and are not so in the others; logged only where some channel is at fault."


def _of_kind(family: str, of_it: str, of_one: str) -> tuple[Term, ...]:
    """What is logged of images of one kind that differ from the others, of the images that are kept of validation.

    Args:
        family: that the keys begin with.
        of_it: what is said behind "images", such as "with the factor".
        of_one: the same of any of them, such as "with a factor".
    """
    not_compared = (
        f"the inputs of images {of_it} and of the others were not compared yet, or one of both are fewer than 8 of "
        "those that are kept"
    )
    return (
        Term(
            f"{family}_channels/*",
            f"Channels in which a {family} differs",
            f"Channels in which validation images {of_it} are on another scale than the others, or like another "
            "channel of the others; by the thresholds of channels_differ and channels_moved.",
            "0 to the number of channels",
            "0: both are alike",
            "channels",
            not_compared,
        ),
        *(
            term.of(f"{family}_{{}}/*", f"{{}}, images {of_one}")._replace(when_nan=_NOT_UNDONE)
            for term in MENDING_TERMS
        ),
        Term(
            f"{family}_own/*",
            f"Accuracy on the images {of_one}",
            f"Accuracy, as it is, on the images {of_it} that are kept.",
            "0 to 1",
            "higher is better",
            when_nan=_NOT_UNDONE,
        ),
        Term(
            f"{family}_others/*",
            f"Accuracy on the other images, beside a {family}",
            "Accuracy, as it is, on the other images.",
            "0 to 1",
            "higher is better",
            when_nan=_NOT_UNDONE,
        ),
        Term(
            f"{family}_share/*",
            f"Share of the gap of a {family} that is closed",
            f"Gain by preparing the images {of_it} as the others, over how far their accuracy is below that of "
            "the others; of channels that do not vary, how close the others come to it with their value: 1, as far as "
            "that.",
            "below 1 as a rule",
            "1: undoing it mends all",
            when_nan=f"{_NOT_UNDONE}; or there is no gap of 0.05 to be explained",
        ),
        Term(
            f"{family}_undone/*",
            f"What was undone for a {family}",
            f"The experiment that the accuracies beside it are of, which closes most of the gap. 0: images {of_it} "
            "with the others' mean and deviation; 1: with the others' order of channels; 2: turned upside down, with "
            "the others' mean and deviation; 3: the others with the value of channels that do not vary in images "
            f"{of_it}: before, with it; after, as they are.",
            "0, 1, 2 or 3",
            "describes",
            when_nan=_NOT_UNDONE,
        ),
        Term(
            f"{family}_moved/*",
            f"Channels of a {family} in another place",
            f"Channels that, in images {of_it}, are much more like another channel of the others.",
            "0 to the number of channels",
            "0: both have one order",
            "channels",
        ),
        Term(
            f"{family}_channel/*",
            f"The channel of a {family} that differs most",
            "Its number, counted from 0.",
            "0 upwards",
            "describes",
        ),
        Term(
            f"{family}_shift/*",
            f"Shift of that channel of a {family}",
            f"Its mean in images {of_it} less that in the others, in standard deviations of the others.",
            "any number",
            "0: both are alike",
            when_nan="the channel does not vary in the others",
        ),
        Term(
            f"{family}_ratio/*",
            f"Ratio of deviations of that channel of a {family}",
            f"Its standard deviation in images {of_it} over that in the others.",
            "0 upwards",
            "1: both are alike",
            when_nan="the channel does not vary in the others",
        ),
        Term(
            f"{family}_scale/*",
            f"What that channel of a {family} is to be multiplied by",
            f"With it and the offset, images {of_it} get the mean and the deviation of the others.",
            "above 0; below 0 where they are upside down",
            "1: nothing is to be done",
            when_nan="the channel does not vary",
        ),
        Term(
            f"{family}_offset/*",
            f"What is then to be added for a {family}",
            f"With it and the scale, images {of_it} get the mean and the deviation of the others.",
            "any number",
            "0: nothing is to be done",
            when_nan="the channel does not vary",
        ),
        Term(
            f"{family}_constant_channel/*",
            f"The first channel that does not vary in images {of_one}",
            "Its number, counted from 0; of channels that vary in the others. Logged only where there is one.",
            "0 upwards",
            "describes",
        ),
        Term(
            f"{family}_constant_value/*",
            f"The value of that channel of a {family}",
            f"What it is in all images {of_it}; logged only where there is such a channel.",
            "any number",
            "0: the channel is empty",
        ),
        Term(
            f"{family}_faulty/*",
            f"Channels of a {family} with a fault",
            f"Channels that in images {of_it} have one of the faults below, {_AT_FAULT}",
            "1 to the number of channels",
            "above 0: look how the channel is read",
            "channels",
        ),
        Term(
            f"{family}_faulty_channel/*",
            f"The first channel of a {family} with a fault",
            "Its number, counted from 0.",
            "0 upwards",
            "describes",
        ),
        *(
            Term(
                f"{family}_{kind}/*",
                f"Channels of a {family} that are {kind.replace('_', ' ')}",
                f"Channels that, in images {of_it}, {means} {_AT_FAULT}",
                "0 to the number of channels",
                "above 0: look how the channel is read",
                "channels",
            )
            for kind, means in (
                ("not_finite", "hold values that are NaN or infinite"),
                ("empty", "are 0 everywhere in a fifth of the images or more"),
                ("constant", "have one value everywhere, other than 0"),
                ("saturated", "have a fifth of their values or more at the smallest, or at the largest one"),
            )
        ),
    )


_TERMS: tuple[Term, ...] = (
    *GeneralisationGap.terms,
    *(term for term in MendedAccuracy.terms if term.key != "groups/all"),  # those of the gap are said
    Term(
        "share/*",
        "Share of the gap that is closed",
        "Gain by undoing a cause, over how far the accuracy is below that on training images; these are judged as in "
        "training where the cause is the mode, and as in evaluation where it is not.",
        "below 1 as a rule",
        "1: undoing it mends all",
        when_nan="the experiment was not made, or there is no gap of 0.05 to be explained",
    ),
    Term(
        "reached",
        "Accuracy that training reaches",
        "Accuracy on training images as in training: batch norm with the statistics of the batch, without dropout.",
        "0 to 1",
        "describes",
        when_nan="no training image was kept yet, or there was no time",
    ),
    Term(
        "chance",
        "Accuracy of chance",
        "Share of the most frequent label among the images of the evaluation.",
        "0 to 1",
        "describes",
        when_nan="no image with a label was seen",
    ),
    Term(
        "in_training_mode",
        "Validated in training mode",
        "1 where modules that give other logits by chance were in training mode during validation, else 0.",
        "0 or 1",
        "0: as it should be",
    ),
    Term(
        "labels_renamed",
        "Classes under other names",
        "Predicted classes that fit another label best, one label each.",
        "0 to the number of classes",
        "0: labels and predictions have the same names",
        "classes",
    ),
    Term(
        "label_shift",
        "By how much labels are shifted",
        "What each label is more than the predicted class that fits it, where it is the same for all.",
        "1 to the number of classes less one",
        "describes",
        when_nan="labels are not shifted all by the same number",
    ),
    Term(
        "renaming_gain_low",
        "Gain under other names, lower end, of a model that was not trained here",
        "Lower end of the 95% interval of what matching predicted classes with labels gains, where a model is "
        "evaluated and no training image was seen to hold it against.",
        "-1 to 1",
        "above 0.1: the labels stand for other classes than those the model was trained with",
        when_nan="too few images have labels",
    ),
    Term(
        "renamed_skill_low",
        "Skill under other names, lower end, of a model that was not trained here",
        "Lower end of the 95% interval of the accuracy once predicted classes are matched with labels, less that of "
        "chance, as a share of what there is above chance; likewise.",
        "at most 1",
        "0 or less: under other names too, no better than always naming the most frequent label",
        when_nan="too few images have labels, or all have the same one",
    ),
    Term(
        "uneven_classes",
        "Classes are unequally frequent in training",
        "1 where the labels of the kept training images are not those of equally frequent classes, by Pearson's "
        "chi-square test at one in a million.",
        "0 or 1",
        "1: the experiment class_imbalance is made",
        when_nan="no training image was kept yet",
    ),
    Term(
        "largest_class_share",
        "Share of the most frequent class in training",
        "Of the kept training images.",
        "0 to 1",
        "describes",
        when_nan="no training image was kept yet",
    ),
    Term(
        "smallest_class_share",
        "Share of the rarest class in training",
        "Of the kept training images.",
        "0 to 1",
        "describes",
        when_nan="no training image was kept yet",
    ),
    Term(
        "proven",
        "A mismatch is proven",
        "1 where undoing another preparation of the inputs, or other names of the labels, closes half of the gap.",
        "0 or 1",
        "1: mend the preparation of validation",
        when_nan="no training image was kept yet, or there was no time",
    ),
    Term(
        "undecided",
        "Whether a mismatch is proven is open",
        "1 where undoing one closes half of the gap, while the interval of the gain holds what would prove it and what "
        "would not, as where there was time for few images.",
        "0 or 1",
        "describes",
        when_nan="no training image was kept yet, or there was no time",
    ),
    Term(
        "orientation",
        "How validation images lie",
        "The way of putting validation images back that is best. 0: they are mirrored left to right; 1: mirrored top "
        "to bottom; 2: turned by half a turn; 3: transposed; 4: turned by a quarter to the left; 5: to the right. What "
        "it mends stands under gain/orientation.",
        "0, 1, 2, 3, 4 or 5",
        "describes",
        when_nan="not tried: no gap to training was seen that nothing else closes, or there was no time",
    ),
    Term(
        "training_content",
        "What training images hold beyond validation images",
        "The content that, taken from a training image of the same class and not from a validation image, helps "
        "validation images most. 0: upper left quarter; 1: upper right; 2: lower left; 3: lower right; 4: border. "
        "What it mends stands under gain/training_content.",
        "0, 1, 2, 3 or 4",
        "describes",
        when_nan="not tried: no gap to training was seen that nothing else closes, images of a class differ in none of "
        "these between both, channels are not prepared alike, or there was no time",
    ),
    Term(
        "channels_differ",
        "Channels that differ",
        "Channels whose mean or deviation differs between training and validation by more than half a deviation, "
        "or more than half as much again, beyond chance.",
        "0 to the number of channels",
        "0: both are prepared alike",
        "channels",
        _NOT_COMPARED,
    ),
    Term(
        "channels_moved",
        "Channels in another place",
        "Channels of validation that are much more like another channel of training.",
        "0 to the number of channels",
        "0: both have one order",
        "channels",
        _NOT_COMPARED,
    ),
    Term(
        "channels_tried",
        "Channels in another place as a trial",
        "Channels that are put in another place, and on the scale of training, to see whether that mends validation; "
        "where channels are on another scale, which may hide another order.",
        "0 to the number of channels",
        "describes",
        "channels",
        _NOT_COMPARED,
    ),
    Term(
        "channels_faulty",
        "Channels with a fault on one side only",
        "Channels that hold values that are not finite, are empty, constant or saturated in validation images and not "
        "in training images, or the other way round; see faults.",
        "0 to the number of channels",
        "0: both are alike",
        "channels",
        _NOT_COMPARED,
    ),
    Term(
        "channels_constant",
        "Channels that do not vary in validation",
        "Channels that have one value in all validation images, 0 or another, and vary in training images.",
        "0 to the number of channels",
        "0: both vary",
        "channels",
        _NOT_COMPARED,
    ),
    Term(
        "constant_channel",
        "The first channel that does not vary in validation",
        "Its number, counted from 0; logged only where there is one.",
        "0 upwards",
        "describes",
    ),
    Term(
        "constant_value",
        "The value of that channel",
        "What it is in all validation images; logged only where there is such a channel.",
        "any number",
        "0: the channel is empty",
    ),
    Term(
        "faults/*",
        "Channels with one fault on one side only",
        "Not finite: some values are NaN or infinite; empty: 0 everywhere, in a fifth of the images or more; constant: "
        "one value everywhere; saturated: a fifth of the values or more are the smallest, or the largest one. Logged "
        "only where there are such channels.",
        "1 to the number of channels",
        "above 0: look how the channel is read",
        "channels",
    ),
    Term(
        "fault_channel/*",
        "The first channel with that fault",
        "Its number, counted from 0.",
        "0 upwards",
        "describes",
    ),
    Term(
        "input_channel",
        "The channel that differs most",
        "Its number, counted from 0.",
        "0 upwards",
        "describes",
        when_nan=_NOT_COMPARED,
    ),
    Term(
        "input_shift",
        "Shift of that channel",
        "Its mean in validation less that in training, in standard deviations of training.",
        "any number",
        "0: both are alike",
        when_nan=f"{_NOT_COMPARED}, or the channel does not vary in training",
    ),
    Term(
        "input_ratio",
        "Ratio of deviations of that channel",
        "Its standard deviation in validation over that in training.",
        "0 upwards",
        "1: both are alike",
        when_nan=f"{_NOT_COMPARED}, or the channel does not vary in training",
    ),
    Term(
        "input_scale",
        "What that channel is to be multiplied by",
        "With it and the offset, validation gets the mean and the deviation of training.",
        "above 0",
        "1: nothing is to be done",
        when_nan=f"{_NOT_COMPARED}, or the channel does not vary",
    ),
    Term(
        "input_turned_offset",
        "What is then to be added, upside down",
        "With it, and the scale with the other sign, validation turned upside down gets the mean and the deviation of "
        "training.",
        "any number",
        "describes",
        when_nan=f"{_NOT_COMPARED}, or the channel does not vary",
    ),
    Term(
        "input_offset",
        "What is then to be added",
        "With it and the scale, validation gets the mean and the deviation of training.",
        "any number",
        "0: nothing is to be done",
        when_nan=f"{_NOT_COMPARED}, or the channel does not vary",
    ),
    *_of_kind("factor", "with the factor", "with a factor"),
    *_of_kind("group", "of the group", "of a group"),
)

TERMS = told_by(
    _TERMS,
    {"gap": ("gap", "max")},
)
