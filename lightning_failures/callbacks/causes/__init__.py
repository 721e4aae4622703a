"""Why a model fails: what is tested, on two fixed batches of training and of validation images, and what it gave."""

from lightning_failures.callbacks.causes.case import *
from lightning_failures.callbacks.causes.column import *
from lightning_failures.callbacks.causes.diagnose import *
from lightning_failures.callbacks.causes.experiments import *
from lightning_failures.callbacks.causes.monitor import *
from lightning_failures.callbacks.causes.preparation import *
from lightning_failures.callbacks.causes.rules import *
from lightning_failures.callbacks.causes.terms import *
