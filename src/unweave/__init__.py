"""Structured, disentangled representations from deep probabilistic programs.

The names are listed in `__init__.pyi`. Each loads when first used, so that `import unweave` (and
the command's help) does not wait for torch.
"""

from __future__ import annotations

import sys
from typing import Any

import lazy_loader

from .extras import LastFinder

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
sys.meta_path.append(LastFinder)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    raise AttributeError(f"unweave has no {name!r}; it has: {', '.join(__all__)}")
