"""Pictures of learned representations: plain functions of numpy arrays, for a report or a notebook.

Pictures of items are `uint8` arrays that `show` draws; charts are matplotlib Axes. Both leave the
global state of pyplot alone and take their ink from `matplotlib.rcParams`, so a style or a dark
background applies.
"""

from .biases import Bias as Bias
from .biases import biases as biases
from .codes import class_information as class_information
from .codes import code_factor_importance as code_factor_importance
from .codes import code_factor_information as code_factor_information
from .codes import column_moves as column_moves
from .codes import factor_gaps as factor_gaps
from .codes import information_bars as information_bars
from .colors import CLASS_COLORS as CLASS_COLORS
from .colors import GROUP_COLORS as GROUP_COLORS
from .colors import METHOD_COLORS as METHOD_COLORS
from .colors import METHOD_MARKERS as METHOD_MARKERS
from .colors import class_colors as class_colors
from .colors import group_colors as group_colors
from .colors import method_looks as method_looks
from .history import curves as curves
from .history import epochs as epochs
from .history import lines as lines
from .methods import rank_lines as rank_lines
from .methods import seed_dots as seed_dots
from .methods import tradeoff as tradeoff
from .pictures import image_grid as image_grid
from .pictures import pixels as pixels
from .pictures import reconstructions as reconstructions
from .pictures import show as show
from .pictures import traversal as traversal
from .points import scatter as scatter
from .points import scatters as scatters
