"""The mathematics as torchmetrics."""
