"""Flags: every recipe records its arguments, and functions that share flags show them."""

import inspect
import json

import pytest

import unweave as uw
from unweave import recipes
from unweave.recipes.flags import with_flags_of
from unweave.recipes.images import structured

STRUCTURED = ("digits_hfvae", "mnist", "fashion_mnist")


def parameters(function):
    return inspect.signature(function).parameters


def test_flags_are_the_arguments_with_defaults_in_the_order_of_the_signature():
    made = recipes.digits_hfvae(seed=3, objective="vae")
    expected = {name: p.default for name, p in parameters(recipes.digits_hfvae).items()}
    expected |= {"seed": 3, "objective": "vae"}
    assert json.dumps(dict(made.flags)) == json.dumps(expected)
    assert recipes.digits_hfvae(**made.flags).flags == made.flags


def test_flags_are_as_given_where_the_recipe_changes_them():
    made = recipes.mouse(quick=True, epochs=9)
    assert made.epochs == 2
    assert (made.flags["epochs"], made.flags["sequences"]) == (9, 1000)


@pytest.mark.parametrize("name", recipes.__all__)
def test_every_recipe_is_keyword_only_and_says_how_it_is_described(name):
    recipe = getattr(recipes, name)
    assert {p.kind for p in parameters(recipe).values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert recipe.__name__ == name
    first, second, *_ = (recipe.__doc__ + "\n\n").splitlines()
    assert first.endswith(".")
    assert second == ""


def test_recipes_of_the_structured_model_have_its_flags():
    shared = list(parameters(structured))[1:]
    assert list(parameters(recipes.mnist)) == list(parameters(recipes.fashion_mnist)) == shared
    assert list(parameters(recipes.digits_hfvae)) == [name for name in shared if name != "data_dir"]
    defaults = [parameters(getattr(recipes, name))["epochs"].default for name in STRUCTURED]
    assert defaults == [400, 30, 30]


@pytest.mark.parametrize("wrong", ["sharpness", "data_dir"])
def test_a_flag_that_a_recipe_does_not_have_is_named(wrong):
    with pytest.raises(
        TypeError, match=rf"digits_hfvae\(\) got an unexpected keyword argument '{wrong}'"
    ):
        recipes.digits_hfvae(**{wrong: "x"})


def test_a_flag_of_its_own_keeps_its_place():
    def shared(name, *, one: int = 1, two: int = 2, three: int = 3):
        return name, one, two, three

    @with_flags_of(shared, without=["three"])
    def own(*, two: float = 0.5, **flags):
        return shared("own", two=two, **flags)

    assert str(inspect.signature(own)) == "(*, one: int = 1, two: float = 0.5)"
    assert own(one=4) == ("own", 4, 0.5, 3)


def test_recipes_know_their_weights_of_the_batch():
    for name in ("balanced", "stratified", "weighted"):
        assert recipes.digits_hfvae(weights=name).weights is getattr(uw, name)
