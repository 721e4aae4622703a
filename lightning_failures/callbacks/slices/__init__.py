"""Slices: groups of images that a network fails on, found in its features and in factors, and shown."""

from lightning_failures.callbacks.slices.column import *
from lightning_failures.callbacks.slices.figures import *
from lightning_failures.callbacks.slices.monitor import *
from lightning_failures.callbacks.slices.rules import *
from lightning_failures.callbacks.slices.sample import *
from lightning_failures.callbacks.slices.terms import *
