"""A trace records the named random variables (sites) of one run of a probabilistic program."""

from .trace import MOST_CLASSES as MOST_CLASSES
from .trace import Concrete as Concrete
from .trace import Law as Law
from .trace import Node as Node
from .trace import Outer as Outer
from .trace import Role as Role
from .trace import Trace as Trace
