"""Simplicity: whether a model leans on a simple cue although more is there to be had."""

from lightning_failures.callbacks.simplicity.column import *
from lightning_failures.callbacks.simplicity.comparison import *
from lightning_failures.callbacks.simplicity.course import *
from lightning_failures.callbacks.simplicity.cues import *
from lightning_failures.callbacks.simplicity.examination import *
from lightning_failures.callbacks.simplicity.figures import *
from lightning_failures.callbacks.simplicity.ladder import *
from lightning_failures.callbacks.simplicity.monitor import *
from lightning_failures.callbacks.simplicity.record_figures import *
from lightning_failures.callbacks.simplicity.rules import *
from lightning_failures.callbacks.simplicity.samples import *
from lightning_failures.callbacks.simplicity.scatter import *
from lightning_failures.callbacks.simplicity.simple_models import *
from lightning_failures.callbacks.simplicity.terms import *
from lightning_failures.callbacks.simplicity.training_stream import *
from lightning_failures.callbacks.simplicity.transplant_figures import *
from lightning_failures.callbacks.simplicity.turns import *
