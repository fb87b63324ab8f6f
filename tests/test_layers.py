"""Imports point down one list of rooms, and the command's help waits for nothing."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unweave
from unweave.extras import EXTRAS, PACKAGES

SOURCE = Path(unweave.__file__).parent

ORDER = [
    "extras", "ranks", "nets", "affine", "trace", "fused", "aggregate", "objective",
    "arguments", "models", "data", "metrics", "plots", "signals", "shown", "terminal",
    "runs", "training", "evaluation", "pages", "explorer", "scoring",
    "run", "annotate", "export", "sklearn", "recipes", "studies", "checks", "again", "notebook",
    "cli", "__main__",
]  # fmt: skip
CORE = ORDER[: ORDER.index("arguments")]
LEAVES = ("data", "metrics", "plots")
PATHS = [
    path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE or path.stem in ORDER
]


def room(path):
    """The part of the package that a file belongs to."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path):
    """The full names that a file imports, wherever in the file."""
    package = ["unweave", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            where = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{where}.{alias.name}" for alias in node.names)


def rooms_used(path):
    names = [name.split(".") for name in imports(path)]
    return {
        name[1] for name in names if name[0] == "unweave" and len(name) > 1 and name[1] in ORDER
    }


def others_used(path):
    return (
        {name.split(".")[0] for name in imports(path)}
        - {"unweave", "lazy_loader"}
        - set(sys.stdlib_module_names)
    )


def modules_used(path):
    """The files of the package that a file imports from."""
    for name in imports(path):
        parts = name.split(".")[1:]
        for end in (len(parts), len(parts) - 1):
            found = SOURCE.joinpath(*parts[:end])
            if name.startswith("unweave.") and end and found.with_suffix(".py").exists():
                yield found.with_suffix(".py")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    above = ORDER[ORDER.index(room(path)) + 1 :]
    assert not rooms_used(path) & set(above)


def test_no_two_modules_import_one_another():
    below = {path: set(modules_used(path)) - {path} for path in PATHS}
    while leaves := [path for path, used in below.items() if not used]:
        for leaf in leaves:
            del below[leaf]
        below = {path: used - set(leaves) for path, used in below.items()}
    assert not below


def test_leaves_do_not_know_one_another_and_have_no_torch():
    for path in PATHS:
        if room(path) in LEAVES:
            assert rooms_used(path) <= {room(path)}, path
        if room(path) in (*LEAVES, "pages"):
            assert "torch" not in others_used(path), path


@pytest.mark.parametrize(
    ("rooms", "allowed"),
    [
        (CORE, {"torch"}),
        (["arguments"], {"msgspec", "numpy"}),
        (["models"], {"torch", "numpy"}),
        (
            ["data"],
            {
                "numpy",
                "scipy",
                "sklearn",
                "pooch",
                "platformdirs",
                "pyarrow",
                "h5py",
                "PIL",
                "anndata",
            },
        ),
        (["metrics"], {"numpy", "scipy", "sklearn", "lightgbm"}),
        (["plots"], {"numpy", "matplotlib"}),
        (["recipes"], {"torch", "numpy", "scipy", "sklearn"}),
        (["terminal"], {"rich"}),
        (["cli"], {"typer", "rich", "torch"}),
    ],
)
def test_libraries_that_a_room_may_use(rooms, allowed):
    for path in PATHS:
        if room(path) in rooms:
            assert others_used(path) <= allowed, path


def test_what_is_imported_is_installed_or_an_extra():
    known = {"torch", "numpy", "safetensors", "msgspec"}.union(*EXTRAS.values())
    for path in PATHS:
        assert {PACKAGES.get(name, name) for name in others_used(path)} <= known, path


def test_every_file_has_its_room():
    assert {room(path) for path in SOURCE.rglob("*.py")} == {*ORDER, "__init__"}


def test_the_architecture_lists_every_module_in_the_order_of_rooms():
    text = SOURCE.parents[1].joinpath("ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(\S+\.py) +\S", text, flags=re.MULTILINE)
    there = [path.relative_to(SOURCE).as_posix() for path in PATHS if path.stem != "__init__"]
    assert sorted(listed) == sorted(there)
    assert list(dict.fromkeys(room(SOURCE / path) for path in listed)) == ORDER


@pytest.mark.slow
def test_what_is_light_stays_light():
    """As measured, not as read: imports of imports count."""
    code = (
        "import sys, unweave, unweave.cli, unweave.recipes, unweave.data, unweave.runs.files\n"
        "assert 'torch' not in sys.modules\n"
        "import unweave.metrics, unweave.plots, unweave.pages.run\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_names_for_training_load_torch_and_hardly_more():
    """Scores, pages and progress load their packages when they begin."""
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import unweave\n"
        "unweave.Trace, unweave.fit, unweave.hfvae, unweave.Recipe, unweave.load\n"
        "print(*(set(sys.modules) - before))\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True)
    loaded = done.stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    heavy = {"sklearn", "scipy", "matplotlib", "pandas", "jinja2", "rich", "lightgbm", "sympy"}
    assert "unweave" in packages, done.stderr
    assert packages.isdisjoint(heavy)
    assert "torch._dynamo" not in loaded
    others = [name for name in loaded if not name.startswith("unweave")]
    assert len(others) < 50, others  # all of torch is there before


def face():
    """The public names as the stub lists them, each with the module that it comes from."""
    for node in ast.parse(SOURCE.joinpath("__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.name, ".".join(filter(None, ["unweave", node.module]))


def test_the_stub_lists_the_public_names_and_where_they_are():
    listed = dict(face())
    assert dir(unweave) == sorted(listed)
    for name, module in listed.items():
        found = getattr(unweave, name)
        if module == "unweave":
            assert found is importlib.import_module(f"unweave.{name}")
        else:
            assert found is getattr(importlib.import_module(module), name)


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"no 'elbow'; it has: .* elbo, "):
        _ = unweave.elbow


def test_files_of_tests_have_names_of_their_own():
    """Of two files with the same name, pytest would read one and stop at the other."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
