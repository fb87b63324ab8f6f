"""The pages of the reference, one a public module, and the site's table of contents."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import unweave

MODULES = ("data", "models", "recipes", "metrics", "plots", "nets", "affine", "sklearn")
"""Public modules of `unweave`, as pages of their own."""


def write(folder: Path) -> None:
    """Write a page for `unweave`, and one for each of its public modules."""
    folder.mkdir(exist_ok=True)
    own = [name for name in unweave.__all__ if name not in (*MODULES, "__version__")]
    pages = {"unweave": _page(unweave, own)}
    for name in MODULES:
        module = getattr(unweave, name)
        pages[f"unweave.{name}"] = _page(module, _public(module))
    for name, text in pages.items():
        place = folder / f"{name}.rst"
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def _public(module: ModuleType) -> list[str]:
    """Return the names that a module offers: its `__all__`, or what it defines."""
    listed = getattr(module, "__all__", None) or vars(module)
    return [
        name
        for name in listed
        if not name.startswith("_")
        and getattr(getattr(module, name), "__module__", "").startswith(module.__name__)
    ]


def _page(module: ModuleType, names: list[str]) -> str:
    lines = [module.__name__, "=" * 60, "", f".. automodule:: {module.__name__}", ""]
    for name in names:
        lines += _entry(module, name)
    return "\n".join(lines)


def _entry(module: ModuleType, name: str) -> Iterator[str]:
    """Yield the directive that documents a name."""
    value = getattr(module, name)
    if inspect.isclass(value):
        yield f".. autoclass:: {module.__name__}.{name}\n   :members:\n"
    elif inspect.isroutine(value):
        yield f".. autofunction:: {module.__name__}.{name}\n"
    else:
        yield f".. autodata:: {module.__name__}.{name}\n   :no-value:\n"


def contents(page: Path) -> str:
    """Return the site's table of contents: a page's headings and the links of its lists."""
    trees = [_tree("Start", ["docs/README"])]
    for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        links = re.findall(r"^- \[[^]]+\]\((\S+)\.md\)", body, flags=re.MULTILINE)
        trees.append(_tree(heading, [os.path.normpath(f"docs/{link}") for link in links]))
    modules = ["unweave", *(f"unweave.{name}" for name in MODULES)]
    trees.append(_tree("Reference", [f"docs/reference/{module}" for module in modules]))
    return "".join(trees)


def _tree(caption: str, pages: list[str]) -> str:
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"
