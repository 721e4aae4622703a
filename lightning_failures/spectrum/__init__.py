"""Axes, bands and the layout of channels."""

from lightning_failures.spectrum.axes import *
from lightning_failures.spectrum.bands import *
from lightning_failures.spectrum.layout import *
