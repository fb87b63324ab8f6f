"""Named random variables of a probabilistic program, their latent units and their groups."""

from .axes import Axes as Axes
from .axes import Enumerated as Enumerated
from .concrete import Concrete as Concrete
from .enumeration import MOST_CLASSES as MOST_CLASSES
from .node import Law as Law
from .node import Node as Node
from .node import Role as Role
from .trace import Trace as Trace
