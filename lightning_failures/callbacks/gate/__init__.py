"""Gates: checkpoints and early stopping that hold logged values against constraints."""

from lightning_failures.callbacks.gate.checkpoint import *
from lightning_failures.callbacks.gate.constraints import *
from lightning_failures.callbacks.gate.early_stopping import *
from lightning_failures.callbacks.gate.evasions import *
from lightning_failures.callbacks.gate.gate import *
from lightning_failures.callbacks.gate.verdict import *
from lightning_failures.callbacks.gate.verdict_log import *
