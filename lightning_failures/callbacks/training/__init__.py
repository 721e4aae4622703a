"""Training: faults of the training step."""

from lightning_failures.callbacks.training.column import *
from lightning_failures.callbacks.training.losses import *
from lightning_failures.callbacks.training.monitor import *
from lightning_failures.callbacks.training.origin import *
from lightning_failures.callbacks.training.parameters import *
from lightning_failures.callbacks.training.rules import *
from lightning_failures.callbacks.training.terms import *
from lightning_failures.callbacks.training.updates import *
