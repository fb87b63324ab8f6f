"""The documentation site: it builds without a warning, and tutorials are notebooks too."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import unweave as uw

ROOT = Path(__file__).parent.parent


def python(*words: object) -> str:
    """Run Python in the repository's root, and return all that it printed."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    python("-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", "docs/site", ".", folder)
    return folder


@pytest.mark.slow
def test_every_page_and_public_name_is_there(site: Path) -> None:
    for page in ROOT.glob("docs/**/*.md"):
        assert (site / page.relative_to(ROOT)).with_suffix(".html").exists()
    reference = (site / "docs/reference/unweave.html").read_text(encoding="utf-8")
    modules = {
        name for name in uw.__all__ if (site / f"docs/reference/unweave.{name}.html").exists()
    }
    for name in set(uw.__all__) - modules - {"__version__"}:
        assert f'id="unweave.{name}"' in reference


@pytest.mark.slow
def test_a_page_asks_nothing_of_the_network_and_formulas_are_drawn(site: Path) -> None:
    outside = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="https?:[^"]*"')
    for page in site.rglob("*.html"):
        assert not outside.findall(page.read_text(encoding="utf-8")), page
    reference = (site / "docs/reference/unweave.html").read_text(encoding="utf-8")
    assert "<math " in reference
    assert r"\frac" not in reference


@pytest.mark.slow
def test_tutorials_are_notebooks(site: Path) -> None:
    for page in ROOT.glob("docs/tutorials/*.md"):
        made = nbformat.read(site / f"docs/tutorials/{page.stem}.ipynb", as_version=4)
        nbformat.validate(made)
        blocks = page.read_text(encoding="utf-8").count("```python\n")
        assert sum(cell.cell_type == "code" for cell in made.cells) == blocks > 0


def test_examples_of_its_builder_hold() -> None:
    names = ("docstrings", "mathml", "notebooks")
    python("-m", "doctest", *(f"docs/site/{name}.py" for name in names))
