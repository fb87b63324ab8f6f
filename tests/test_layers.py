"""Imports point down: the core needs torch alone, leaves know nothing of one another, help waits for nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unweave

SOURCE = Path(unweave.__file__).parent

CORE = (
    "marginals",
    "groups",
    "trace",
    "distributed",
    "native",
    "triton_body",
    "fused",
    "aggregate",
    "schedule",
    "objective",
    "penalties",
    "conditioning",
    "bounds",
)
LEAVES = ("data", "metrics", "plots", "seeds", "findings", "metric_table")
ORDER = (
    CORE,
    ("nets", "messages"),
    ("critic",),
    ("formulas",),
    ("models",),
    LEAVES,
    ("disk",),
    ("card", "progress", "page", "inputs"),
    ("exhibits",),
    ("artifact", "report", "compare", "pictures", "scorecard"),
    ("train",),
    ("evaluate",),
    ("run",),
    ("recipes",),
    ("board", "executors"),
    ("study",),
    ("results",),
    ("study_report",),
    ("bench", "bench_metrics", "verify"),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def modules():
    """(module, layer, path); a package's files belong to the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(parts), parts[0], path


def imports(path):
    """(what is imported, whether as the module loads) of a file; TYPE_CHECKING blocks import nothing."""
    package = ["unweave", *path.relative_to(SOURCE).parts[:-1]]

    def visit(node, now):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            where = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{where}.{alias.name}", now) for alias in node.names)
        else:
            inner = now and not isinstance(node, ast.FunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inner)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def layers_used(path):
    for name, now in imports(path):
        first, *rest = name.split(".")
        if first == "unweave" and rest and rest[0] in RANK:
            yield rest[0], now


def others_used(path):
    return {name.split(".")[0] for name, _ in imports(path)} - {"unweave"} - set(sys.stdlib_module_names)


ALL = list(modules())


def test_every_module_has_a_layer():
    assert {layer for _, layer, _ in ALL} == set(RANK)


@pytest.mark.parametrize(("name", "layer", "path"), ALL, ids=[name for name, _, _ in ALL])
def test_imports_point_down(name, layer, path):
    for used, _ in layers_used(path):
        if used == layer or (layer in CORE and used in CORE):
            continue
        assert RANK[used] < RANK[layer], f"{name} imports {used}, which is no lower layer"


def test_the_core_imports_torch_alone_and_in_one_order():
    order = {name: place for place, name in enumerate(CORE)}
    for name, layer, path in ALL:
        if layer not in CORE:
            continue
        assert others_used(path) <= {"torch"}, name
        for used, _ in layers_used(path):
            assert order[used] < order[layer], f"{name} imports {used}"


def test_leaves_do_not_know_one_another_and_have_no_torch():
    """Nor do pages, which are made of files and arrays."""
    for name, layer, path in ALL:
        if layer in LEAVES:
            assert {used for used, _ in layers_used(path)} <= {layer}, name
        if layer in (*LEAVES, "page", "report"):
            assert "torch" not in others_used(path), name


@pytest.mark.parametrize(
    ("layer", "allowed"),
    [
        ("nets", {"torch"}),
        ("models", {"torch", "numpy"}),
        ("data", {"numpy", "scipy", "sklearn", "pooch", "platformdirs", "pyarrow", "h5py", "PIL"}),
        ("metrics", {"numpy", "scipy", "sklearn", "lightgbm"}),
        ("plots", {"numpy", "matplotlib"}),
        ("seeds", {"numpy", "scipy"}),
        ("recipes", {"torch", "numpy", "scipy", "sklearn"}),
        ("disk", set()),
        ("cli", {"typer", "rich", "torch"}),
    ],
)
def test_what_else_a_layer_needs(layer, allowed):
    for name, its, path in ALL:
        if its == layer:
            assert others_used(path) <= allowed, name


@pytest.mark.slow
def test_what_is_light_stays_light():
    """As measured, not as read: imports of imports count."""
    code = (
        "import sys, unweave, unweave.cli, unweave.recipes, unweave.data, unweave.disk, unweave.groups\n"
        "assert 'torch' not in sys.modules\n"
        "import unweave.metrics, unweave.plots, unweave.report\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "import unweave.objective, unweave.models\n"
        "print(sorted({'rich', 'typer', 'jinja2'} & set(sys.modules)))\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_where_they_are_said_to_be():
    names = dir(unweave)
    assert names == sorted(names)
    for name in names:
        assert getattr(unweave, name) is not None
    stubs = (SOURCE / "__init__.py").read_text(encoding="utf-8").partition("if TYPE_CHECKING:")[2]
    for name in names:
        assert f" as {name}\n" in stubs  # readers and type checkers see the same names
    with pytest.raises(AttributeError, match=r"unweave has no 'elbow'; it has: .*elbo, "):
        _ = unweave.elbow
