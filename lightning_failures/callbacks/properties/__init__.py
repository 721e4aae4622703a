"""Properties that every image has, such as brightness and sharpness: errors by them, without annotation."""

from lightning_failures.callbacks.properties.column import *
from lightning_failures.callbacks.properties.figures import *
from lightning_failures.callbacks.properties.monitor import *
from lightning_failures.callbacks.properties.rules import *
from lightning_failures.callbacks.properties.terms import *
