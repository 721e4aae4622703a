"""Images that a model gets wrong: those that a finding speaks of, on contact sheets, and which classes it confuses."""

from lightning_failures.callbacks.images.confusion import *
from lightning_failures.callbacks.images.monitor import *
