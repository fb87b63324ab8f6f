"""Estimators of log q(z_block), with q(z) = 1/N Σ_n q(z|x_n) the aggregate posterior of a data set.

`estimators` says what an estimator is and which there are; `mixture` computes the sums that they
ask for.
"""

from .ahead import Ahead as Ahead
from .classes import classes_summed as classes_summed
from .estimators import Aggregate as Aggregate
from .estimators import exact as exact
from .estimators import minibatch as minibatch
from .mixture import log_mixture as log_mixture
from .mixture import log_own as log_own
from .weights import Weights as Weights
from .weights import balanced as balanced
from .weights import stratified as stratified
from .weights import weighted as weighted
