"""anomalib: GANomaly, two optimisers by hand; the batch has labels, which no loss takes."""

import torch
from anomalib.data import ImageBatch
from anomalib.models import Ganomaly
from torch.utils.data import DataLoader

from tests.third_party.watched import features_or_unwatched, no_classes, undisturbed, watch

SIZE = 32


def picture(i):
    image = 0.5 + 0.05 * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(i))
    if i % 2:
        image[:, 8:16, 8:16] += 0.4
    return image.clamp(0, 1), i % 2


def collate(rows):
    images, labels = zip(*rows, strict=True)
    return ImageBatch(image=torch.stack(images), gt_label=torch.tensor(labels).bool())


def loaders():
    normal, mixed = [picture(i) for i in range(0, 64, 2)], [picture(i) for i in range(100, 116)]
    return DataLoader(normal, 8, shuffle=True, collate_fn=collate), DataLoader(mixed, 8, collate_fn=collate)


def test_a_generator_of_normal_images_is_not_judged_against_labels():
    def make():
        processor = Ganomaly.configure_pre_processor(image_size=(SIZE, SIZE))
        return Ganomaly(
            batch_size=8, n_features=8, latent_vec_size=16, pre_processor=processor, evaluator=False, visualizer=False
        )

    watched = watch(make, loaders)
    undisturbed(watched)
    no_classes(watched)
    features_or_unwatched(watched, None)
