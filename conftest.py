"""Test set-up: one thread a worker, so that the suite on two cores does not fight with itself."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by spawned processes

import torch

torch.set_num_threads(1)
