"""Data: images on both sides of the split, more than once, or under a wrong label."""

from lightning_failures.callbacks.data.column import *
from lightning_failures.callbacks.data.image_record import *
from lightning_failures.callbacks.data.monitor import *
from lightning_failures.callbacks.data.rules import *
from lightning_failures.callbacks.data.terms import *
