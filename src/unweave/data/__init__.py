"""Data as arrays, and a function for each source of them.

The names are listed in `__init__.pyi`, and each loads when first used. Loading one is light: a
reader imports the library that it needs when it is called.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
