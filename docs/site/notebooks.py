"""Tutorials as notebooks: a page's text as text, its Python as cells, without the output."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def write(pages: Path, folder: Path) -> None:
    """Write a notebook for each Markdown page."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in sorted(pages.glob("*.md")):
        made = notebook(page.read_text(encoding="utf-8"))
        nbformat.write(made, folder / f"{page.stem}.ipynb")


def notebook(page: str) -> nbformat.NotebookNode:
    """Return a page as a notebook.

    >>> page = "# One\\n\\n```python\\n>>> 1 + 1\\n2\\n```\\n"
    >>> [(cell.cell_type, cell.source) for cell in notebook(page).cells]
    [('markdown', '# One'), ('code', '1 + 1')]
    """
    parts = re.split(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    cells = []
    for number, part in enumerate(parts):
        is_code, text = number % 2 == 1, part.strip()
        if is_code:
            cells.append(new_code_cell(_code(text)))
        elif text:
            cells.append(new_markdown_cell(text))
    for number, cell in enumerate(cells):
        cell.id = str(number)  # the same page gives the same file
    return new_notebook(cells=cells)


def _code(text: str) -> str:
    """Return what a reader types: an example without its prompts and answers."""
    if not text.startswith(">>>"):
        return text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(text)).strip()
