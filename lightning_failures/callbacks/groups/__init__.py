"""Groups of images that belong together, such as of one study, patient or scanner: which of them a model fails on."""

from lightning_failures.callbacks.groups.column import *
from lightning_failures.callbacks.groups.monitor import *
from lightning_failures.callbacks.groups.rules import *
