"""A training loop in Lightning Fabric, on as many devices as there are; the lines that watch it are marked."""

import lightning
import torch
from lightning.fabric.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import lightning_failures as lf  # added

fabric = lightning.Fabric(loggers=CSVLogger("logs"))
fabric.launch()
fabric.seed_everything(0)
labels = torch.arange(800) % 4  # the direction of the stripes in a noisy image, which begin anywhere
grid, angles = torch.arange(16.0), labels * torch.pi / 4
along = angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]
images = torch.rand(800, 3, 16, 16) + 0.4 * (1.6 * along + 6.3 * torch.rand(800, 1, 1)).sin()[:, None]
train_set, val_set = random_split(TensorDataset(images, labels), [600, 200])
train_loader, val_loader = fabric.setup_dataloaders(DataLoader(train_set, 32, shuffle=True), DataLoader(val_set, 100))

body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
model = nn.Sequential(*body, nn.Linear(288, 4))
model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters()))

with lf.Watch(model, lf.failure_monitors(report_dir="failures"), loggers=fabric.loggers) as watch:  # added
    for _ in range(4):
        model.train()
        for batch, target in watch.training(train_loader):  # was: in train_loader
            optimizer.zero_grad()
            fabric.backward(F.cross_entropy(model(batch), target))
            optimizer.step()
        model.eval()
        with torch.no_grad(), watch.evaluation(val_loader) as batches:  # added: watch.evaluation
            shares = [(model(batch).argmax(1) == target).float().mean() for batch, target in batches]
            watch.log({"val_acc": fabric.all_reduce(torch.stack(shares).mean())})  # added
        if watch.gate("val_acc >= 0.9").feasible:  # added
            fabric.save("best.ckpt", {"model": model})
