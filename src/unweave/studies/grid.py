"""Studies: grids of methods x coefficients x seeds of one recipe.

A study's folder holds study.json (what is to be run), a folder a run, named by its settings, logs/,
and, once something has finished, the report. Whatever stopped a study, starting it again goes on
where it was: finished runs are left as they are, half trained ones resume, failed ones are tried
again.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import re
import reprlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from .. import arguments, recipes
from ..runs.command import SHARED

MOST = 10_000
"""Runs of a study at most."""

NAME = re.compile(r"[^\\/:*?\"<>|\x00-\x1f\x7f]{1,100}")
"""A name that a folder can have on all systems, apart from those that are dots alone."""


@dataclass(frozen=True)
class Job:
    """One run: the method it belongs to, and its recipe with all flags, defaults included."""

    method: str
    recipe: str
    flags: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name of the run's folder: ten digits of the SHA-256 of its recipe and flags.

        The folder of the data does not count, so that a study keeps its runs when its data moves.
        """
        flags = {name: value for name, value in self.flags.items() if name != "data_dir"}
        text = json.dumps([self.recipe, flags], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.flags["seed"])


@dataclass(frozen=True)
class Study:
    """A grid of runs of one recipe.

    Args:
        name: The study's name; its folder by default, so it holds no "/".
        recipe: The recipe that every run trains.
        methods: By name, what makes a method: flags of the recipe, and coefficients that stand in
            braces in its objective, as in
            ``{"β-VAE": {"objective": "beta_vae({beta})", "beta": [2, 4]}}``. A list is a grid.
        seeds: Seeds that every method runs with, the same for all, so that differences can be
            paired.
        flags: Flags of all runs, where a method does not set them; those of every training
            (`SHARED`), such as precision, are among them.
        baseline: The method that others are compared with; the first, if none is named.
        about: A sentence or two for the report.

    Raises:
        ValueError: If a part is of another type, a grid is empty, or there are more than `MOST`
            runs. `jobs` raises it for a flag that the recipe lacks, a value that its flag does not
            take, a coefficient without a value, or two methods that are one.
    """

    name: str
    recipe: str
    methods: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    flags: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    about: str = ""

    def __post_init__(self) -> None:
        for part, is_right, expected in _PARTS:
            _expect(part, getattr(self, part), is_right, expected)
        count = 0
        for name, settings in self.methods.items():
            for key, value in settings.items():
                _expect(f"methods.{name}.{key}", value, _is_grid, f"{_PLAIN}, or a list of them")
            grids = [len(value) for value in settings.values() if isinstance(value, list)]
            count += math.prod(grids) * len(self.seeds)
        if count > MOST:
            raise ValueError(f"the grid has {count:,} runs; expected at most {MOST:,}")
        for key, value in self.flags.items():
            _expect(f"flags.{key}", value, _is_plain, _PLAIN)

    def jobs(self) -> list[Job]:
        """Return the runs, seed by seed.

        So a study that is stopped early has all methods at the first seeds.
        """
        points = [
            point for name, settings in self.methods.items() for point in _points(name, settings)
        ]
        jobs = []
        for seed in self.seeds:
            for method, settings in points:
                given = {**self.flags, **settings, "seed": seed}
                shared = [key for key in SHARED if key in given]
                how = {key: _checked(key, given.pop(key), SHARED[key]) for key in shared}
                jobs.append(Job(method, self.recipe, complete(self.recipe, given) | how))
        self._check(jobs)
        return jobs

    def _check(self, jobs: Sequence[Job]) -> None:
        """Refuse two methods that are one, and a baseline that is no method."""
        seen: dict[str, str] = {}
        for job in jobs:
            if job.key in seen:
                raise ValueError(
                    f"study {self.name!r}: methods {seen[job.key]!r} and {job.method!r} have the "
                    f"same settings, seed {job.seed} included: leave one of them out"
                )
            seen[job.key] = job.method
        methods = list(dict.fromkeys(seen.values()))
        if self.baseline is not None and self.baseline not in methods:
            raise ValueError(
                f"study {self.name!r}: baseline {self.baseline!r} is no method; expected one of: "
                f"{', '.join(methods)}"
            )


# -- the parts of a study by their types -----------------------------------------------------------


def _expect(part: str, value: Any, is_right: Callable[[Any], bool], expected: str) -> None:
    """Refuse a part that is not right, with its name, what was given and what is expected."""
    if not is_right(value):
        shown = reprlib.repr(value)
        raise ValueError(f"{part} is {shown}; expected {expected}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(NAME.fullmatch(value)) and bool(value.strip(" ."))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_plain(value: Any) -> bool:
    """Return whether a value is a flag's or a coefficient's."""
    if _is_number(value):
        return bool(abs(value) < 2**63)  # NaN is not
    return value is None or isinstance(value, bool | str)


def _is_grid(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(map(_is_plain, values))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _are_methods(value: Any) -> bool:
    return _is_table(value) and bool(value) and all(map(_is_table, value.values()))


def _are_seeds(value: Any) -> bool:
    if not isinstance(value, list | tuple | range) or not value:
        return False
    return all(_is_whole(seed) and 0 <= seed < 2**32 for seed in value)


_PLAIN = "a finite number, a truth or text"

_PARTS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", _is_name, 'the name of a folder: at most 100 characters, none of them "/" or "\\"'),
    ("recipe", _is_text, "the name of a recipe"),
    ("methods", _are_methods, "a table for each method, such as [methods.VAE]"),
    ("seeds", _are_seeds, f"how many there are, 1 to {MOST:,}, or a list of them, each below 2³²"),
    ("flags", _is_table, "a table"),
    ("baseline", lambda value: value is None or _is_text(value), "the name of a method"),
    ("about", _is_text, "text"),
)


# -- the points of a grid --------------------------------------------------------------------------


def _points(name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a method's name and flags at each point of its grid, named by what varies."""
    lists = {key: value if isinstance(value, list) else [value] for key, value in settings.items()}
    varied = [key for key, values in lists.items() if len(values) > 1]
    for values in itertools.product(*lists.values()):
        point = dict(zip(lists, values, strict=True))
        labels = [f"{key} {_short(point[key])}" for key in varied]
        yield ", ".join([name, *labels]), _with_coefficients(name, point)


def _with_coefficients(method: str, point: dict[str, Any]) -> dict[str, Any]:
    """Return a point's flags, its coefficients put into the objective."""
    objective = str(point.pop("objective", ""))
    for key in re.findall(r"{(\w+)}", objective):
        if key not in point:
            raise ValueError(
                f"method {method!r}: the objective {objective!r} names {{{key}}}, which has no "
                "value"
            )
        objective = objective.replace(f"{{{key}}}", _short(point.pop(key)))
    if objective:
        point["objective"] = objective
    return point


def _short(value: Any) -> str:
    """Return a value as a name or an objective shows it."""
    return f"{value:.15g}" if _is_number(value) else str(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- flags against the recipe ----------------------------------------------------------------------


def complete(recipe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all flags of a recipe; those that are given are checked against its signature.

    Raises:
        ValueError: If there is no such recipe or flag, or a value is not of its flag's type.
    """
    function = _recipe(recipe)
    hints = arguments.types(inspect.unwrap(function))
    parameters = inspect.signature(function).parameters.values()
    flags = {parameter.name: parameter.default for parameter in parameters}
    for flag, value in given.items():
        key = flag.replace("-", "_")
        if key not in flags:
            raise ValueError(
                f"{flag!r} is no flag of the recipe {recipe}, nor a coefficient of the objective; "
                f"its flags are: {', '.join(flags)}, and of every training: {', '.join(SHARED)}"
            )
        flags[key] = _checked(flag, value, hints[key])
    missing = [name for name, value in flags.items() if value is inspect.Parameter.empty]
    if missing:
        raise ValueError(f"the recipe {recipe} needs {', '.join(missing)}: set it among the flags")
    return flags


def _checked(flag: str, value: Any, hint: Any) -> Any:
    """Return a flag's value as its type has it."""
    try:
        return arguments.converted(value, hint)
    except ValueError as error:
        raise ValueError(f"{flag} = {reprlib.repr(value)}: {error}") from None


def _recipe(recipe: str) -> Callable[..., Any]:
    name = recipe.replace("-", "_")
    if name not in recipes.__all__:
        known = ", ".join(n.replace("_", "-") for n in recipes.__all__)
        raise ValueError(f"there is no recipe {recipe!r}; expected one of: {known}")
    function: Callable[..., Any] = getattr(recipes, name)
    return function


# -- from a file, by name --------------------------------------------------------------------------


def read(source: str | Path, **changes: Any) -> Study:
    """Return the study in a TOML or JSON file, or the one of that name in the package.

    Args:
        source: A file's path, or a name.
        changes: Parts of the study to replace (seeds, or single flags in `flags`). A whole number
            of seeds counts from 0.

    Raises:
        FileNotFoundError: If there is no such file or name.
        ValueError: If the file is no TOML or JSON, or says something that a study does not have.
    """
    path = Path(source)
    ours = _folder() / f"{source}.toml"
    file = path if path.is_file() else ours
    if not file.is_file():
        raise FileNotFoundError(
            f"{source} is no file and no study of this package; those are: {', '.join(names())}"
        )
    try:
        text = file.read_text(encoding="utf-8")
        said = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{source} can't be read: {error}") from None
    except RecursionError:
        raise ValueError(f"{source} can't be read: its lists nest too deeply") from None
    _expect(str(source), said, _is_table, "the parts of a study, such as recipe and methods")
    return build({"name": path.stem, **said}, str(source), **changes)


def build(said: Mapping[str, Any], where: str, **changes: Any) -> Study:
    """Return a study from what a file or the command line says.

    Args:
        said: The parts of the study.
        where: The file or flag that says so, for errors.
        changes: Parts to replace, as in `read`.

    Raises:
        ValueError: If a part is unknown or of another type, or there is no recipe or no methods.
    """
    parts = dict(said)
    parts.pop("jobs", None)  # a study's folder lists them
    flags, changed = parts.get("flags", {}), changes.pop("flags", {})
    parts["flags"] = {**flags, **changed} if _is_table(flags) else flags
    parts |= {key: value for key, value in changes.items() if value is not None}
    known = inspect.signature(Study).parameters
    for key in parts:
        if key not in known:
            raise ValueError(f"{where} has {key!r}; a study has: {', '.join(known)}")
    for key in ("recipe", "methods"):
        if key not in parts:
            raise ValueError(f"{where} has no {key!r}; a study needs a recipe and methods")
    seeds: Any = parts.get("seeds")
    if _is_whole(seeds) and 0 < seeds <= MOST:
        parts["seeds"] = list(range(seeds))
    try:
        return Study(**parts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def names() -> list[str]:
    """Return the names of the studies that come with the package."""
    files = [path.name for path in _folder().iterdir()]
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def _folder() -> Traversable:
    return resources.files("unweave") / "studies"
