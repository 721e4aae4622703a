"""What a model depends on in its channels: engines that work without Lightning."""

from lightning_failures.attribution.ablation import *
from lightning_failures.attribution.attribution import *
from lightning_failures.attribution.first_layer import *
from lightning_failures.attribution.null_models import *
from lightning_failures.attribution.path_gradients import *
from lightning_failures.attribution.replacement import *
from lightning_failures.attribution.task import *
