"""torchgeo: segmentation with a U-Net of segmentation-models-pytorch, with pixels left out; regression; detection."""

import torch
from torch.utils.data import DataLoader
from torchgeo.trainers import ObjectDetectionTask, RegressionTask, SemanticSegmentationTask

from lightning_failures.observe import draw_positions, pixel_rows
from tests.third_party.watched import features_or_unwatched, no_classes, right_or_unwatched, undisturbed, watch

BATCH, IGNORED = 8, 255


def scene(i, classes=3, ignored=False):
    generator = torch.Generator().manual_seed(i)
    mask = torch.randint(0, classes, (4, 4), generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = 0.3 * torch.rand(4, 32, 32, generator=generator)
    image[0] += 0.5 * mask
    if ignored:
        mask = mask.clone()
        mask[:, :12] = IGNORED
    return {"image": image, "mask": mask}


def loaders(item):
    train, held = [item(i) for i in range(48)], [item(i) for i in range(100, 120)]
    return DataLoader(train, BATCH, shuffle=True), DataLoader(held, BATCH)


def validated(item):
    rows = [item(i) for i in range(100, 120)]
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def of_pixels(values):
    """What maps of the validation images hold at the pixels that are watched: sixteen of each image."""
    batches = enumerate(values.split(BATCH))
    return torch.cat([pixel_rows(maps, draw_positions(len(maps), 16, seed=place)) for place, maps in batches])


def test_segmentation_with_ignored_pixels_counts_the_others_alone():
    def make():
        return SemanticSegmentationTask(
            "unet", "resnet18", in_channels=4, num_classes=3, loss="ce", ignore_index=IGNORED
        )

    def item(i):
        return scene(i, ignored=True)

    watched = watch(make, lambda: loaders(item))
    undisturbed(watched)
    batch = validated(item)
    with torch.no_grad():
        right = watched.module.eval()(batch["image"]).argmax(1) == batch["mask"]
    known = of_pixels(batch["mask"]) != IGNORED
    right_or_unwatched(watched, of_pixels(right)[known].double().mean().item())


def test_binary_segmentation_with_one_channel():
    def make():
        return SemanticSegmentationTask("unet", "resnet18", in_channels=4, task="binary", loss="bce")

    def item(i):
        return scene(i, 2)

    watched = watch(make, lambda: loaders(item))
    undisturbed(watched)
    batch = validated(item)
    with torch.no_grad():
        right = (watched.module.eval()(batch["image"]).squeeze(1) > 0).long() == batch["mask"]
    right_or_unwatched(watched, of_pixels(right).double().mean().item())


def test_regression_is_not_judged_as_classes():
    def make():
        return RegressionTask("resnet18", in_channels=4, num_outputs=1)

    def item(i):
        image = scene(i)["image"]
        return {"image": image, "label": image[0].mean()[None]}

    watched = watch(make, lambda: loaders(item))
    undisturbed(watched)
    no_classes(watched)
    features_or_unwatched(watched, watched.rows("model.fc", validated(item)["image"]))


def boxes(i):
    generator = torch.Generator().manual_seed(i)
    image = 0.2 * torch.rand(3, 64, 64, generator=generator)
    corner = torch.randint(0, 32, (2,), generator=generator)
    x, y = corner.tolist()
    image[:, y : y + 24, x : x + 24] += 0.7
    return {
        "image": image,
        "bbox_xyxy": torch.tensor([[x, y, x + 24, y + 24]], dtype=torch.float32),
        "label": torch.ones(1, dtype=torch.int64),
    }


def test_detection_is_openly_not_watched():
    def collate(rows):
        return {
            "image": torch.stack([row["image"] for row in rows]),
            "bbox_xyxy": [row["bbox_xyxy"] for row in rows],
            "label": [row["label"] for row in rows],
        }

    def detection():
        rows = [boxes(i) for i in range(8)]
        return DataLoader(rows, 4, collate_fn=collate), DataLoader(rows[:4], 2, collate_fn=collate)

    def make():
        return ObjectDetectionTask("retinanet", "resnet18", num_classes=2)

    watched = watch(make, detection)
    undisturbed(watched)
    no_classes(watched)
    features_or_unwatched(watched, None)
