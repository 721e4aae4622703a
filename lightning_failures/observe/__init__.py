"""Observing a module that nobody changed."""

from lightning_failures.observe.batch_fields import *
from lightning_failures.observe.batch_statistics import *
from lightning_failures.observe.compiled import *
from lightning_failures.observe.dataset_rows import *
from lightning_failures.observe.discovery import *
from lightning_failures.observe.entry import *
from lightning_failures.observe.factor_reader import *
from lightning_failures.observe.hooks import *
from lightning_failures.observe.input_view import *
from lightning_failures.observe.layers import *
from lightning_failures.observe.logits import *
from lightning_failures.observe.loss_facts import *
from lightning_failures.observe.loss_listener import *
from lightning_failures.observe.module_state import *
from lightning_failures.observe.observation import *
from lightning_failures.observe.pixels import *
from lightning_failures.observe.probe import *
from lightning_failures.observe.reference_batch import *
from lightning_failures.observe.rerun import *
from lightning_failures.observe.sharded_weights import *
from lightning_failures.observe.task import *
from lightning_failures.observe.understanding import *
from lightning_failures.observe.undisturbed import *
