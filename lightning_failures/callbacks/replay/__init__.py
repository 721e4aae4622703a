"""The monitors over the saved checkpoints of a training that is over."""

from lightning_failures.callbacks.replay.checkpoints import *
from lightning_failures.callbacks.replay.player import *
from lightning_failures.callbacks.replay.run import *
