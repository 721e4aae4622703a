"""Classes that are asked for in validation and were never shown in training."""

import torch
from torch import Tensor

__all__ = ["unseen_class_statistics"]


def unseen_class_statistics(train: Tensor, held: Tensor) -> dict[str, Tensor]:
    """Held-out images whose label no training image has; scalars.

    Convention:
        ``unseen_classes``: how many labels of held-out images no training image has; ``unseen_class_images``: share of
        the held-out images with a label that have one of these, in [0, 1], lower is better; ``largest_unseen_class``:
        of these labels the one of most images, left out where there is none. The others are ``nan`` where either side
        has no label.

    Args:
        train: labels of the training images, negative where there is none; (t), int64.
        held: of the held-out images; (m), int64.

    Example:
        >>> found = unseen_class_statistics(torch.tensor([0, 1, 1, -1]), torch.tensor([0, 1, 7, 7]))
        >>> {name: float(value) for name, value in found.items()}
        {'unseen_classes': 1.0, 'unseen_class_images': 0.5, 'largest_unseen_class': 7.0}
    """
    known, asked = train[train >= 0].unique(), held[held >= 0]
    if not len(known) or not len(asked):
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        return {"unseen_classes": nan, "unseen_class_images": nan}
    unseen = asked[~torch.isin(asked, known)]
    classes, counts = unseen.unique(return_counts=True)
    return {
        "unseen_classes": torch.tensor(len(classes), dtype=torch.float64),
        "unseen_class_images": torch.tensor(len(unseen) / len(asked), dtype=torch.float64),
    } | ({"largest_unseen_class": classes[counts.argmax()].double()} if len(classes) else {})
