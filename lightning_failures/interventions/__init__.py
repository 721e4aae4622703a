"""Changes of images, and what a model then predicts: engines that work without Lightning."""

from lightning_failures.interventions.changes import *
from lightning_failures.interventions.interventions import *
from lightning_failures.interventions.perturbations import *
from lightning_failures.interventions.transplants import *
