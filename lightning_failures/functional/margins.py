"""Labels that are likely to be wrong, from how a network learns each training image.

Area under the margin: Pleiss et al., "Identifying mislabeled data using the area under the margin ranking" (NeurIPS
2020, arXiv 2001.10528). Error norm: Paul, Ganguli and Dziugaite, "Deep learning on a data diet" (NeurIPS 2021, arXiv
2107.07075). The share of wrong labels is read where a network is surest, as Patrini et al., "Making deep neural
networks robust to label noise" (CVPR 2017, arXiv 1609.03683), read the rates of a noise at such images.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.functional.proportions import Interval, wilson

__all__ = ["SUREST", "Disagreement", "error_norms", "margins", "mislabelled_interval", "sure_disagreement"]

#: Share of the images of each predicted class that counts as the surest.
SUREST = 0.3

#: How far the share may be off beyond chance, below and above the truth: the most, rounded up, over 144 trainings with
#: no, 10%, 20% and 40% of the labels wrong by chance (8 x 8 digits and spectra, classes of which a quarter overlaps;
#: two networks, three optimisers, seeds 1 to 3). Above: images of classes that overlap. Below: networks that learn
#: wrong labels by heart within three epochs.
TOO_HIGH, TOO_LOW = 0.07, 0.16


class Disagreement(NamedTuple):
    """What :func:`sure_disagreement` gives; adds up over disjoint sets of images."""

    wrong: Tensor  # () int64, images whose label is not the predicted class
    seen: Tensor  # () int64, images that are looked at


def margins(logits: Tensor, target: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit; its mean over the epochs is the area under the margin.

    Convention:
        Any number; below 0 the image is predicted to be of another class. Wrong labels have low means: other images
        of the class that is seen teach the network against them, until it knows the image by heart.

    Args:
        logits: (n c), with two classes or more.
        target: labels; (n), int64.

    Returns:
        (n), float32.

    Example:
        >>> margins(torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]]), torch.tensor([0, 2]))
        tensor([ 2., -3.])
    """
    scores, place = logits.detach().float(), target[:, None]
    others = scores.scatter(1, place, -torch.inf)
    return scores.gather(1, place).squeeze(1) - others.amax(1)


def error_norms(logits: Tensor, target: Tensor) -> Tensor:
    """Length of the softmax minus the one-hot label; its mean over early epochs is EL2N.

    Convention:
        From 0, right and sure, to the root of 2, wrong and sure. Hard images have high means, and wrong labels too.

    Args:
        logits: (n c).
        target: labels; (n), int64.

    Returns:
        (n), float32.

    Example:
        >>> error_norms(torch.tensor([[100.0, 0.0], [100.0, 0.0]]), torch.tensor([0, 1]))
        tensor([0.0000, 1.4142])
    """
    probabilities = logits.detach().float().softmax(1)
    norms: Tensor = (probabilities - F.one_hot(target, logits.shape[1])).norm(dim=1)
    return norms


def sure_disagreement(probabilities: Tensor, target: Tensor) -> Disagreement:
    """How many of the images that a network is surest of have another label than it predicts.

    Images of classes that overlap are those that it is unsure of; a label that is wrong by chance is as often wrong
    where it is sure. So the share of disagreement among the surest images is about that of wrong labels among all,
    as long as the network has not learnt them by heart: early in training.

    Args:
        probabilities: mean of the softmax over some early epochs, of training steps, before the image was learnt from;
            (n c).
        target: labels; (n), int64.

    Example:
        >>> probabilities = torch.tensor([[0.9, 0.1]] * 8 + [[0.6, 0.4]] * 12)
        >>> sure_disagreement(probabilities, torch.tensor([0] * 6 + [1] * 14))
        Disagreement(wrong=tensor(0), seen=tensor(6))
    """
    if not len(target):
        return Disagreement(torch.zeros_like(target.sum()), torch.zeros_like(target.sum()))
    top, place = probabilities.topk(2, 1)
    predicted, sure = place[:, 0], top[:, 0] - top[:, 1]
    order = sure.argsort(descending=True, stable=True)
    order = order[predicted[order].argsort(stable=True)]  # by predicted class, the surest first
    counts = predicted.bincount(minlength=probabilities.shape[1])
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(order), device=order.device) - starts[predicted[order]]
    kept = order[rank < (SUREST * counts[predicted[order]]).floor().clamp(min=1)]
    return Disagreement((predicted[kept] != target[kept]).sum(), torch.full_like(counts.sum(), len(kept)))


def mislabelled_interval(found: Disagreement) -> Interval:
    """Between which shares the share of wrong labels lies.

    Convention:
        In [0, 1]: Wilson's 95% interval of the disagreement, widened by what the method itself was off by in trials,
        0.07 downwards and 0.16 upwards. ``nan`` without images. Images count and not groups: who is among the
        surest is decided image by image in training, where a wrong label is a fault of one image. Where all labels of a
        patient or a slide are wrong together, the interval is too narrow.

    Args:
        found: among the surest images.

    Example:
        >>> low, high = mislabelled_interval(Disagreement(torch.tensor(80), torch.tensor(400)))
        >>> round(float(low), 2), round(float(high), 2)
        (0.09, 0.4)
    """
    low, high = wilson(found.wrong, found.seen)
    return Interval((low - TOO_HIGH).clamp(min=0), (high + TOO_LOW).clamp(max=1))
