"""One thread: tests are many small tensors, and threads that wait for one another on a busy machine
cost minutes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
