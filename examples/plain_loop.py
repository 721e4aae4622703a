"""A training loop in plain PyTorch; the lines that watch it are marked."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import lightning_failures as lf  # added

torch.manual_seed(0)
labels = torch.arange(800) % 4  # the direction of the stripes in a noisy image, which begin anywhere
grid, angles = torch.arange(16.0), labels * torch.pi / 4
along = angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]
images = torch.rand(800, 3, 16, 16) + 0.4 * (1.6 * along + 6.3 * torch.rand(800, 1, 1)).sin()[:, None]
train_set, val_set = random_split(TensorDataset(images, labels), [600, 200])
train_loader, val_loader = DataLoader(train_set, 32, shuffle=True), DataLoader(val_set, 100)

body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
model = nn.Sequential(*body, nn.Linear(288, 4))
optimizer = torch.optim.AdamW(model.parameters())

with lf.Watch(model, lf.failure_monitors(report_dir="failures")) as watch:  # added
    for epoch in range(4):
        model.train()
        for batch, target in watch.training(train_loader):  # was: in train_loader
            optimizer.zero_grad()
            F.cross_entropy(model(batch), target).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad(), watch.evaluation(val_loader) as batches:  # added: watch.evaluation
            right = sum(int((model(batch).argmax(1) == target).sum()) for batch, target in batches)
            watch.log({"val_acc": right / len(val_set)})  # added
        gate = watch.gate(["val_acc >= 0.9", "failures/collapse/class_share >= 0.4"])  # added
        if gate.feasible:  # added
            torch.save(model.state_dict(), "best.pt")
        print(f"epoch {epoch}: val_acc {right / len(val_set):.2f}. {gate.why or 'Saved.'}")
