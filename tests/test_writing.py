"""Docstrings open with one plain line, and the core nests no comprehension in another."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

import unweave

SOURCE = Path(unweave.__file__).parent
PATHS = sorted(SOURCE.rglob("*.py"))
CORE = [path for path in PATHS if path.parent.name in ("trace", "fused", "aggregate", "objective")]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def name_of(path):
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_a_docstring_opens_with_one_plain_line(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
        if not text:
            continue
        first, _, rest = text.partition("\n")
        where = f"{name_of(path)}, {getattr(node, 'name', 'the module')}: {first}"
        assert not re.match(r"(What|Of|How|Where|Whether)\b", first), where
        assert not rest or rest.startswith("\n"), f"{where}: a blank line follows the first"
        if re.match(r"(Return true|True) if\b", first):
            returns = ast.unparse(node.returns) if getattr(node, "returns", None) else ""
            assert returns.startswith(("bool", "TypeGuard")), where


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_a_constant_is_described_by_a_noun(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for before, after in pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_text and isinstance(before, ast.Assign | ast.AnnAssign):
            opening = re.match(r"(What|Of|How|Where|Whether)\b", str(after.value.value))
            assert not opening, f"{name_of(path)}, line {after.lineno}"


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_no_comprehension_is_inside_another(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, COMPREHENSIONS):
            inner = [other for other in ast.walk(node) if isinstance(other, COMPREHENSIONS)]
            assert inner == [node], f"{name_of(path)}, line {node.lineno}"
