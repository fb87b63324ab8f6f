"""The documentation site: the pages of docs/, tutorials as notebooks, a reference from docstrings.

`make docs` builds it from the repository's root, so that links between pages are those of files.
The pages stay plain Markdown, which GitHub shows as well. The headings and
links of docs/README.md become the site's table of contents.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import unweave

sys.path.insert(0, str(Path(__file__).parent))
import docstrings
import notebooks
import reference

ROOT = Path(__file__).parents[2]

project = "unweave"
author = "The unweave authors"
version = release = unweave.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
]
html_math_renderer = "mathml"
root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "build", "dist", "runs", "scripts", "shared", "src", "tests", "docs/site"]
html_theme = "furo"
html_title = "unweave"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # torch's own are written in another markup
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app: Sphinx) -> None:
    """Write what pages are made of, and complete pages as they are read."""
    reference.write(ROOT / "docs" / "reference")
    notebooks.write(ROOT / "docs" / "tutorials", Path(app.outdir) / "docs" / "tutorials")
    app.connect("source-read", _completed)
    app.connect("autodoc-process-docstring", docstrings.escape, priority=100)  # before napoleon


def _completed(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page its table of contents, and a tutorial the link to its notebook."""
    if page == root_doc:
        source[0] += reference.contents(ROOT / "docs" / "README.md")
    if page.startswith("docs/tutorials/"):
        name = Path(page).name
        source[0] += f'\n<a href="{name}.ipynb" download>This page as a notebook</a>\n'
