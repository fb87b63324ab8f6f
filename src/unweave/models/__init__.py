"""Families of models, a function each: an encoder fills the trace q and a decoder the trace p.

The names are listed in `__init__.pyi`, and each loads when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
