"""Factors: which kinds of image a model fails on."""

from lightning_failures.callbacks.factors.column import *
from lightning_failures.callbacks.factors.factor_rows import *
from lightning_failures.callbacks.factors.figures import *
from lightning_failures.callbacks.factors.monitor import *
from lightning_failures.callbacks.factors.perturbation_monitor import *
from lightning_failures.callbacks.factors.rules import *
from lightning_failures.callbacks.factors.spillover import *
from lightning_failures.callbacks.factors.terms import *
