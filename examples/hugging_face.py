"""A residual network in a Trainer of Hugging Face; the line that watches it is marked, and so is its import."""

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import lightning_failures as lf  # added


class Tinted(Dataset):
    """Noisy images; the label is the channel that is a little brighter than the others."""

    def __init__(self, size: int) -> None:
        self.labels = torch.arange(size) % 3
        self.images = torch.rand(size, 3, 16, 16) + 0.2 * F.one_hot(self.labels, 3).view(-1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[i], "labels": self.labels[i]}


torch.manual_seed(0)
config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=3)
options = {"num_train_epochs": 3, "learning_rate": 5e-3, "eval_strategy": "epoch", "report_to": "none"}
trainer = Trainer(
    ResNetForImageClassification(config),
    TrainingArguments("run", per_device_train_batch_size=32, per_device_eval_batch_size=50, **options),
    train_dataset=Tinted(600),
    eval_dataset=Tinted(200),
    compute_metrics=lambda seen: {"accuracy": (seen.predictions.argmax(1) == seen.label_ids).mean()},
)
watch = lf.HuggingFaceWatch(trainer, lf.failure_monitors(report_dir="failures"))  # added
trainer.train()
print(watch.gate("eval_accuracy >= 0.9").why or "The model passes.")  # added
