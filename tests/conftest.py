"""One thread: tests are many small tensors, and threads that wait for one another on a busy machine
cost minutes. No test of Hypothesis fails for lack of time.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
