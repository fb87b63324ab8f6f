"""Estimators of log q(z_block), where q(z) = 1/N Σ_n q(z|x_n) is the aggregate posterior of a data
set.
"""

from .mixture import Aggregate as Aggregate
from .mixture import Ahead as Ahead
from .mixture import Weights as Weights
from .mixture import balanced as balanced
from .mixture import exact as exact
from .mixture import log_mixture as log_mixture
from .mixture import minibatch as minibatch
from .mixture import stratified as stratified
from .mixture import weighted as weighted
