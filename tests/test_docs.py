"""Tests of the pages in docs/: blocks run, formulas parse, and links lead somewhere."""

import doctest
import re
from pathlib import Path

import pytest
import torch

import unweave as uw

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("docs/**/*.md"))
}
FORMULAS = [
    (page, text)
    for page, whole in PAGES.items()
    for text in re.findall(r'--objective\s+"([^"]+)"', whole)
]
RECIPES = [
    (page, name)
    for page, whole in PAGES.items()
    for name in re.findall(r"unweave train ([a-z-]+)", whole)
]
LINKS = [
    (page, link)
    for page, whole in PAGES.items()
    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", whole)
]


def blocks(whole: str) -> list[tuple[int, str]]:
    """Return each Python block with the number of lines above it."""
    found = re.finditer(r"```python\n(.*?)```", whole, flags=re.DOTALL)
    return [(whole[: match.start(1)].count("\n"), match[1]) for match in found]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, whole in PAGES.items() if blocks(whole)])
def test_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's blocks share their names, as for a reader; those with >>> state their output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for above, code in blocks(PAGES[page]):
            if code.startswith(">>>"):
                example = doctest.DocTestParser().get_doctest(code, names, page, page, above)
                said: list[str] = []
                failed = (
                    doctest.DocTestRunner().run(example, out=said.append, clear_globs=False).failed
                )
                assert not failed, "".join(said)
                names |= example.globs
            else:
                exec(compile("\n" * above + code, page, "exec"), names)


@pytest.mark.parametrize(("page", "text"), FORMULAS)
def test_formulas_parse(page: str, text: str) -> None:
    assert isinstance(uw.formula(text), uw.Objective)


@pytest.mark.parametrize(("page", "name"), RECIPES)
def test_recipes_exist(page: str, name: str) -> None:
    assert name.replace("-", "_") in uw.recipes.__all__


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page: str, link: str) -> None:
    assert (ROOT / page).parent.joinpath(link).exists()


def test_there_is_something_to_test() -> None:
    assert len(FORMULAS) > 20
    assert sum(len(blocks(whole)) for whole in PAGES.values()) > 10
