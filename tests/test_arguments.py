"""Arguments of recipes and models are of the types and within the limits that they have."""

import inspect
import json

import numpy as np
import pytest

import unweave as uw
from unweave import arguments, recipes
from unweave.models import hfvae, rigid, table, topics

NAMES = [name for names in recipes.PURPOSES.values() for name in names]


@pytest.mark.parametrize(
    ("build", "given", "said"),
    [
        (recipes.digits, {"epochs": 0}, r"digits\(epochs=0\): expected int >= 1"),
        (recipes.digits, {"epochs": 10**400}, r"digits\(epochs=10+…\): "),
        (recipes.digits, {"epochs": 2.5}, "expected int, got float"),
        (recipes.digits, {"epochs": True}, "expected int, got bool"),
        (recipes.digits, {"lr": -1.0}, "expected float > 0"),
        (recipes.digits, {"lr": float("nan")}, "expected a finite number"),
        (recipes.digits, {"seed": -1}, r"expected int >= 0"),
        (recipes.digits, {"patience": 0}, "expected int >= 1"),
        (recipes.digits_hfvae, {"prior": "Normal"}, "expected one of standard, learned, "),
        (recipes.own, {"data": "x.csv", "test": 2.0}, "expected float <= 1"),
        (recipes.topics, {"competition": -1.0}, "expected float >= 0"),
        (recipes.topics, {"blocks": "25,a"}, "expected numbers of topics, such"),
        (hfvae, {"shape": (8, 8), "temperature": [10**9]}, "expected float . None, got array"),
        (hfvae, {"shape": (8, -8)}, r"shape=\(8, -8\)\): expected int >= 1 - at \$\[1\]"),
        (topics, {"shape": (20,), "background": 1.5}, "expected float <= 1"),
        (rigid, {"shape": (16, 16), "warm": 0.0}, "expected float > 0"),
        (table, {"shape": (1,), "kinds": [("normal", 1)], "blocks": [0]}, "expected int >= 1"),
    ],
)
def test_what_has_no_place_is_refused(build, given, said):
    with pytest.raises(ValueError, match=said):
        build(**given)


def test_numbers_of_numpy_are_taken_for_those_of_python():
    recipe = recipes.digits(epochs=np.int64(3), lr=np.float32(0.5))
    assert json.dumps([recipe.flags["epochs"], recipe.flags["lr"]]) == "[3, 0.5]"
    assert hfvae((8, 8), normals=np.int64(3)).config["normals"] == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_recipe_has_limits(name):
    recipe = getattr(recipes, name)
    for flag in inspect.signature(recipe).parameters:
        for value in (10**30, -(10**30), 1e30, -1e30, [10**9], float("inf"), {}):
            with pytest.raises(ValueError, match=rf"{name}\({flag}="):
                arguments.check(inspect.unwrap(recipe), {flag: value})


def test_what_signatures_take_by_default_is_within_the_limits():
    families = [f for f in vars(uw.models).values() if getattr(f, "is_family", False)]
    for build in [*families, *(getattr(recipes, name) for name in NAMES)]:
        parameters = inspect.signature(build).parameters.values()
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        arguments.check(inspect.unwrap(build), given)
