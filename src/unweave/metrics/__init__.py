"""Scores of codes against factors: plain functions of arrays, (n, codes) and (n, factors)."""

from .clusters import clustering_accuracy as clustering_accuracy
from .clusters import match as match
