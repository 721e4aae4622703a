"""The planted scenes for a Lightning Trainer."""

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_failures.data.planted import PlantedScene

__all__ = ["PlantedDataModule"]


class PlantedDataModule(LightningDataModule):
    """Both parts of a planted scene as loaders of (images, labels); the training images are shuffled.

    Args:
        scene: as :func:`.planted_scene` gives it.
        batch_size: images a batch.
    """

    def __init__(self, scene: PlantedScene, batch_size: int = 64) -> None:
        super().__init__()
        self.scene, self.batch_size = scene, batch_size

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The training images, in another order each epoch."""
        return DataLoader(self.scene.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The validation images, in order."""
        return DataLoader(self.scene.validation, self.batch_size)
