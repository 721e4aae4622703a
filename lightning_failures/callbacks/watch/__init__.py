"""The monitors in a training loop that is not Lightning's Trainer."""

from lightning_failures.callbacks.watch.batches import *
from lightning_failures.callbacks.watch.hand_loop import *
from lightning_failures.callbacks.watch.held_model import *
from lightning_failures.callbacks.watch.hugging_face import *
from lightning_failures.callbacks.watch.watch import *
