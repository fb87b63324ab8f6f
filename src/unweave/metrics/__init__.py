"""Scores of codes against factors: plain functions of arrays, (n, codes) and (n, factors)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
