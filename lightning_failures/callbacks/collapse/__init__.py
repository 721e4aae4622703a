"""Collapse: whether features and predictions fall together."""

from lightning_failures.callbacks.collapse.class_geometry import *
from lightning_failures.callbacks.collapse.column import *
from lightning_failures.callbacks.collapse.figures import *
from lightning_failures.callbacks.collapse.group_dimensions import *
from lightning_failures.callbacks.collapse.layers import *
from lightning_failures.callbacks.collapse.monitor import *
from lightning_failures.callbacks.collapse.parts import *
from lightning_failures.callbacks.collapse.rules import *
from lightning_failures.callbacks.collapse.run_best import *
from lightning_failures.callbacks.collapse.terms import *
