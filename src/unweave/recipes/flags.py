"""Flags that several recipes have, and the decorators that turn a function into a recipe.

The keyword arguments of a recipe are the flags of `unweave train NAME`. The text in the type of an
argument is the flag's help.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal, ParamSpec

from unweave import arguments
from unweave.arguments import Positive, Size

if TYPE_CHECKING:
    from unweave.training.recipe import Recipe

P = ParamSpec("P")

Images = Annotated[Literal["digits", "mnist", "fashion-mnist"], "Images to train on."]
Formula = Annotated[
    str,
    "The objective to maximise: vae, tc_vae(6), recon - mi - 6*tc[0] - kl[-1], "
    "hfvae(1, ramp(1, 12), 4).",
]
Discrete = Annotated[
    Literal["concrete", "categorical"], "The class variable: relaxed, or summed over exactly."
]
Prior = Annotated[
    Literal["standard", "learned", "correlated", "mixture"], "p(z): standard Normal, or learned."
]
Weights = Annotated[
    Literal["balanced", "stratified", "weighted"], "The batch's weights in the estimate of q(z)."
]
Samples = Annotated[Size, "Draws of the latents for each item."]
Latents = Annotated[Size, "Normal latents."]
Epochs = Annotated[Size, "Passes over the training data."]
Batch = Annotated[Size, "Items a step."]
Rate = Annotated[Positive, "Adam's learning rate."]
Patience = Annotated[
    Size | None, "Stop after so many epochs without a better held-out loss; keep the best weights."
]
Quick = Annotated[bool, "A smaller run, for tests."]
Seed = Annotated[arguments.Seed, "Seed of the weights, the order of the items and the noise."]
Folder = Annotated[str | None, "Folder that holds the data.  Default: see `unweave data`."]


def recipe(build: Callable[P, Recipe]) -> Callable[P, Recipe]:
    """Record the arguments of a function that builds a recipe as the `flags` of what it builds.

    The flags are all of its arguments, defaults included, in the order of its signature. They are
    written into a run's config.json, from which the recipe can be built again.

    Arguments of other types, and beyond the limits in their types, are refused.

    >>> from unweave.recipes import digits_hfvae
    >>> digits_hfvae(seed=3).flags["seed"], digits_hfvae().flags["batch"]
    (3, 128)
    """
    signature = inspect.signature(build)

    @functools.wraps(build)
    def made(*args: P.args, **kwargs: P.kwargs) -> Recipe:
        try:
            bound = arguments.bound(signature, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{build.__name__}() {error}") from None
        arguments.check(build, bound.arguments)
        recipe = build(*bound.args, **bound.kwargs)
        return replace(recipe, flags=bound.arguments)

    return made


def with_flags_of(
    shared: Callable[Concatenate[str, P], Recipe], *, without: Sequence[str] = ()
) -> Callable[[Callable[..., Recipe]], Callable[P, Recipe]]:
    """Show the flags of `shared` in the signature of a function that passes `**flags` on to it.

    Args:
        shared: The function that the flags are passed on to, in the same module. Its flags are its
            keyword-only arguments.
        without: Names of flags that the function does not have.

    Returns:
        A decorator. A flag that the decorated function names itself keeps its place among the
        flags of `shared`, with the function's own type and default.
    """

    def decorate(build: Callable[..., Recipe]) -> Callable[P, Recipe]:
        signature = inspect.signature(build)
        flags = [
            signature.parameters.get(flag.name, flag)
            for flag in inspect.signature(shared).parameters.values()
            if flag.kind is flag.KEYWORD_ONLY and flag.name not in without
        ]
        described: Any = build
        described.__signature__ = signature.replace(parameters=flags)
        described.__annotations__ = {flag.name: flag.annotation for flag in flags}
        return build

    return decorate
