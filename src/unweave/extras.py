"""Packages that `pip install unweave` leaves out, and the error that names what brings them."""

from __future__ import annotations

import sys

EXTRAS = {
    "anndata": ("anndata",),
    "data": ("h5py", "pillow", "platformdirs", "pooch", "pyarrow"),
    "metrics": ("lightgbm", "scikit-learn", "scipy"),
    "report": ("jinja2", "matplotlib"),
    "cli": ("filelock", "rich", "typer"),
    "explore": ("starlette", "uvicorn", "websockets"),
    "export": ("onnx", "onnxscript"),
    "pandas": ("pandas",),
    "slurm": ("submitit",),
    "ray": ("ray",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow-skinny",),
    "trackio": ("trackio",),
}
"""Packages of each extra, by the names that pip knows; each package has one extra."""

ALL = ("data", "metrics", "report", "cli", "explore")
"""Extras that the extra `all` brings."""

PACKAGES = {
    "PIL": "pillow",
    "markupsafe": "jinja2",
    "mlflow": "mlflow-skinny",
    "sklearn": "scikit-learn",
}
"""Packages whose modules have another name."""


class MissingExtra(ModuleNotFoundError):
    """An error that names a package which is needed, and the extra that brings it."""


class LastFinder:
    """The finder that Python asks for a module after all others have failed.

    It finds nothing. Where a module of unweave imports a package of an extra, it says how to
    install that package; imports of everyone else fail as ever.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        package, importer = PACKAGES.get(name, name), _importer()
        for extra, packages in EXTRAS.items():
            if package in packages and importer.startswith("unweave."):
                also = " (or 'unweave[all]')" if extra in ALL else ""
                raise MissingExtra(
                    f"{importer} needs {package}, which is not installed: "
                    f"pip install 'unweave[{extra}]'{also}",
                    name=name,
                )


def _importer() -> str:
    """Return the name of the module whose import statement is being carried out."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__") == "importlib._bootstrap":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))
