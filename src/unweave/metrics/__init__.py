"""Scores of codes against factors: plain functions of arrays, (n, codes) and (n, factors)."""

from . import battery as battery
from .clusters import clustering_accuracy as clustering_accuracy
from .clusters import match as match
from .infomec import info_compactness as info_compactness
from .infomec import info_explicitness as info_explicitness
from .infomec import info_modularity as info_modularity
from .information import dcimig as dcimig
from .information import jemmig as jemmig
from .information import mig as mig
from .information import mig_sup as mig_sup
from .information import modularity as modularity
from .score import Score as Score
from .score import bootstrap as bootstrap
from .separation import sap as sap
from .unsupervised import gaussian_total_correlation as gaussian_total_correlation
from .unsupervised import gaussian_wasserstein_correlation as gaussian_wasserstein_correlation
from .unsupervised import pairwise_information as pairwise_information
