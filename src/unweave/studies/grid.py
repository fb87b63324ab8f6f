"""Studies: a grid of methods x coefficients x seeds of one recipe, each run in a folder named by
its settings.

A study's folder holds study.json (what is to be run), a folder a run, logs/, and, once something
has finished, the report. Whatever stopped a study, starting it again goes on where it was: finished
runs are left as they are, half trained ones resume, failed ones are tried again.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal

from .. import recipes


@dataclass(frozen=True)
class Job:
    """One run: the method it belongs to, and its recipe with every flag, those left at their
    defaults included.
    """

    method: str
    recipe: str
    flags: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The run's folder: ten digits of the SHA-256 of recipe and flags, but for where its data
        lies.
        """
        flags = {name: value for name, value in self.flags.items() if name != "data_dir"}
        text = json.dumps([self.recipe, flags], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def seed(self) -> int:
        return int(self.flags["seed"])


@dataclass(frozen=True)
class Study:
    """A grid of runs of one recipe.

    Args:
        name: What the study is called; its folder by default. recipe: The recipe that every run
        trains. methods: By name, what makes a method: flags of the recipe, and coefficients that
        stand in braces in its
            objective, as in ``{"β-VAE": {"objective": "beta_vae({beta})", "beta": [2, 4]}}``. A
            list is a grid.
        seeds: Seeds that every method runs with, the same for all, so that differences can be
        paired. flags: Flags of all runs, where a method does not set them. baseline: The method
        that others are compared with; the first, if none is named. about: A sentence or two for the
        report.

    Raises:
        ValueError: For a flag that the recipe lacks, a value that its flag does not take, a
        coefficient that no
            objective names, or two methods that are one.
    """

    name: str
    recipe: str
    methods: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    flags: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    about: str = ""

    def jobs(self) -> list[Job]:
        """The runs, seed by seed, so that a study that is stopped early has all methods at the
        first seeds.
        """
        kinds = [kind for name, settings in self.methods.items() for kind in _grid(name, settings)]
        jobs = [
            Job(name, self.recipe, _complete(self.recipe, {**self.flags, **settings, "seed": seed}))
            for seed in self.seeds
            for name, settings in kinds
        ]
        seen: dict[str, str] = {}
        for job in jobs:
            if job.key in seen:
                raise ValueError(
                    f"study {self.name!r}: methods {seen[job.key]!r} and {job.method!r} have the "
                    f"same settings, seed {job.seed} included: leave one of them out"
                )
            seen[job.key] = job.method
        if self.baseline is not None and self.baseline not in seen.values():
            names = ", ".join(dict.fromkeys(seen.values()))
            raise ValueError(
                f"study {self.name!r}: baseline {self.baseline!r} is no method; expected one of: "
                f"{names}"
            )
        return jobs


def _grid(name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A method's flags for each point of its grid, coefficients put into the objective; named by
    what varies.
    """
    lists = {key: value if isinstance(value, list) else [value] for key, value in settings.items()}
    varied = [key for key, values in lists.items() if len(values) > 1]
    for point in itertools.product(*lists.values()):
        at = dict(zip(lists, point, strict=True))
        label = name + "".join(
            f", {key} {at[key]:g}" if _number(at[key]) else f", {key} {at[key]}" for key in varied
        )
        objective = str(at.get("objective", ""))
        for key in re.findall(r"{(\w+)}", objective):
            if key not in at:
                raise ValueError(
                    f"method {name!r}: the objective {objective!r} names {{{key}}}, which has no "
                    "value"
                )
            value = at.pop(key)
            objective = objective.replace(
                f"{{{key}}}", f"{value:g}" if _number(value) else str(value)
            )
        yield label, {**at, **({"objective": objective} if objective else {})}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _complete(recipe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All flags of a recipe, those that are given checked against its signature."""
    name = recipe.replace("-", "_")
    if name not in recipes.__all__:
        known = ", ".join(n.replace("_", "-") for n in recipes.__all__)
        raise ValueError(f"there is no recipe {recipe!r}; expected one of: {known}")
    function = getattr(recipes, name)
    hints = typing.get_type_hints(function, localns={"Recipe": Any})
    flags = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    for flag, value in given.items():
        key = flag.replace("-", "_")
        if key not in flags:
            raise ValueError(
                f"{flag!r} is no flag of the recipe {recipe}, nor a coefficient of the objective; "
                f"its flags are: {', '.join(flags)}"
            )
        flags[key] = _typed(flag, value, hints[key])
    if missing := [name for name, value in flags.items() if value is inspect.Parameter.empty]:
        raise ValueError(f"the recipe {recipe} needs {', '.join(missing)}: set it among the flags")
    return flags


def _typed(flag: str, value: Any, hint: Any) -> Any:
    """`value` as the type of its flag, whole numbers as floats where those are expected."""
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    choices = [
        choice
        for kind in kinds
        if typing.get_origin(kind) is Literal
        for choice in typing.get_args(kind)
    ]
    if choices and value in choices:
        return value
    for kind in kinds:
        if (
            isinstance(kind, type)
            and isinstance(value, kind)
            and isinstance(value, bool) == (kind is bool)
        ):
            return value
        if kind is float and _number(value):
            return float(value)
        if kind is type(None) and value is None:
            return None
    expected = ", ".join(map(str, choices)) or " or ".join(
        getattr(kind, "__name__", str(kind)) for kind in kinds
    )
    raise ValueError(f"{flag} = {value!r}: expected {expected}")


# -- from a file, by name --------------------------------------------------------------------------


def read(source: str | Path, **changes: Any) -> Study:
    """The study in a TOML or JSON file, or the one of that name that comes with the package.

    `changes` replace its parts (seeds, or single flags in `flags`). A whole number of seeds counts
    from 0.

    Raises:
        FileNotFoundError: If there is no such file or name.
        ValueError: If the file is no TOML or JSON, or says something that a study does not have.
    """
    path = Path(source)
    own = resources.files("unweave") / "studies" / f"{source}.toml"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif own.is_file():
        text = own.read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(
            f"{source} is no file and no study of this package; those are: {', '.join(names())}"
        )
    try:
        said = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{source} can't be read: {error}") from None
    return build({"name": path.stem, **said}, str(source), **changes)


def build(said: Mapping[str, Any], where: str, **changes: Any) -> Study:
    """A study from what a file or the command line says."""
    parts = {
        key: value for key, value in said.items() if key != "jobs"
    }  # a study's folder lists them
    parts["flags"] = {**parts.get("flags", {}), **changes.pop("flags", {})}
    parts |= {key: value for key, value in changes.items() if value is not None}
    known = inspect.signature(Study).parameters
    if unknown := [key for key in parts if key not in known]:
        raise ValueError(f"{where} has {unknown[0]!r}; a study has: {', '.join(known)}")
    if missing := [key for key in ("recipe", "methods") if key not in parts]:
        raise ValueError(f"{where} has no {missing[0]!r}; a study needs a recipe and methods")
    if isinstance(seeds := parts.get("seeds"), int):
        parts["seeds"] = list(range(seeds))
    return Study(**parts)


def names() -> list[str]:
    """The studies that come with the package."""
    return sorted(
        path.name[:-5]
        for path in (resources.files("unweave") / "studies").iterdir()
        if path.name[-5:] == ".toml"
    )
