"""Why a model fails: what is tested, on two fixed batches of training and of validation images, and what it gave."""

from lightning_failures.callbacks.causes.answers import *
from lightning_failures.callbacks.causes.case import *
from lightning_failures.callbacks.causes.class_imbalance import *
from lightning_failures.callbacks.causes.column import *
from lightning_failures.callbacks.causes.dead_units import *
from lightning_failures.callbacks.causes.diagnose import *
from lightning_failures.callbacks.causes.evaluation_mode import *
from lightning_failures.callbacks.causes.experiments import *
from lightning_failures.callbacks.causes.frozen_parameters import *
from lightning_failures.callbacks.causes.input_mismatch import *
from lightning_failures.callbacks.causes.inputs_by_kind import *
from lightning_failures.callbacks.causes.kinds import *
from lightning_failures.callbacks.causes.label_mismatch import *
from lightning_failures.callbacks.causes.label_noise import *
from lightning_failures.callbacks.causes.leakage import *
from lightning_failures.callbacks.causes.learning_rate import *
from lightning_failures.callbacks.causes.monitor import *
from lightning_failures.callbacks.causes.no_signal import *
from lightning_failures.callbacks.causes.not_finite import *
from lightning_failures.callbacks.causes.overfitting import *
from lightning_failures.callbacks.causes.preparation import *
from lightning_failures.callbacks.causes.rules import *
from lightning_failures.callbacks.causes.shortcut import *
from lightning_failures.callbacks.causes.terms import *
from lightning_failures.callbacks.causes.unfinished_training import *
