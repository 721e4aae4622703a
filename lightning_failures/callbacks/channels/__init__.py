"""Channels: what in the spectrum a model depends on."""

from lightning_failures.callbacks.channels.column import *
from lightning_failures.callbacks.channels.course import *
from lightning_failures.callbacks.channels.examination import *
from lightning_failures.callbacks.channels.figures import *
from lightning_failures.callbacks.channels.monitor import *
from lightning_failures.callbacks.channels.rules import *
from lightning_failures.callbacks.channels.terms import *
