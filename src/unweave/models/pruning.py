"""A model without some of its latent units, which are fixed at the means of their priors."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from . import families
from .model import Model


@torch.no_grad()
def prune(model: Model, keep: Collection[str]) -> Model:
    r"""Return a smaller model, which has some of the units.

    A unit that goes is fixed at the mean m of its prior wherever a layer reads it, and its column
    leaves the layer's weights:

    .. math:: W z + b = W_{kept} z_{kept} + (b + W_{gone} m_{gone})

    Decoding is exactly that of the whole model with these units at m, and p(z) is exactly the
    marginal of the units that stay. An encoder that draws z from q(z|x, y) is given the mean of y
    where y goes.

    Args:
        model: A model of the family `vae` or `hfvae`, which is left as it is.
        keep: Names in `units` of those that stay, one or more of z among them. They keep their
            order; those of z are numbered anew.

    Returns:
        A model of the same family, which encodes, decodes, saves and loads like any other.

    Raises:
        ValueError: If the model is of another family, its prior is correlated, a unit is unknown,
            or no unit of z would stay.

    >>> model = families.hfvae((64,), hidden=(32, 16), normals=10)
    >>> small = prune(model, ["y", "z[2]", "z[7]"])
    >>> small.units()
    ['y', 'z[0]', 'z[1]']
    >>> z = torch.zeros(1, 10)
    >>> z[0, 2], z[0, 7] = 1.0, -1.0
    >>> whole = model.decode(y=[3], z=z)
    >>> torch.allclose(small.decode(y=[3], z=[[1.0, -1.0]]), whole, atol=1e-6)
    True
    """
    config = dict(model.config or {})
    _check(model, config, keep)
    units = [unit for unit in model.units() if unit != "y"]
    kept = torch.tensor([unit in keep for unit in units])
    classes = config.get("classes", 0)
    keeps_y = torch.full((classes,), "y" in keep)

    whole = copy.deepcopy(model)
    encoder: Any = whole.encoder
    decoder: Any = whole.decoder
    weight = next(whole.parameters())
    means = weight.new_zeros(len(kept)) if decoder.prior is None else decoder.prior().mean
    uniform = weight.new_full((classes,), 1 / max(classes, 1))
    _fix_inputs(decoder.x, torch.cat([keeps_y, kept]), torch.cat([uniform, means]))
    if decoder.prior is not None:
        for part in (decoder.prior.loc, decoder.prior.log_scale):
            part.data = part[..., kept]
    for net in (encoder.z_mean, encoder.z_log_scale):
        if encoder.order == "yz":
            _fix_inputs(net, keeps_y, uniform)
        _drop_outputs(net, kept)
    if not keeps_y.any():
        encoder.y_log_weights = None
    elif encoder.order == "zy":
        _fix_inputs(encoder.y_log_weights, kept, means)

    config["normals"] = int(kept.sum())
    if classes:
        config["classes"] = int(keeps_y.sum())
    build = getattr(families, config.pop("family"))
    small: Model = build(**config).to(weight)
    small.load_state_dict(whole.state_dict())
    small.inputs = model.inputs
    return small.train(model.training)


def _check(model: Model, config: dict[str, Any], keep: Collection[str]) -> None:
    family = config.get("family")
    if family not in ("vae", "hfvae"):
        raise ValueError(f"a model of family {family!r}: expected 'vae' or 'hfvae'")
    if config.get("prior") == "correlated":
        raise ValueError(
            "units of prior='correlated' depend on one another: expected another prior"
        )
    units = model.units()
    unknown = [unit for unit in keep if unit not in units]
    if unknown:
        raise ValueError(
            f"no unit {', '.join(map(repr, unknown))}; the model's units are {', '.join(units)}"
        )
    if not set(keep) - {"y"}:
        raise ValueError(f"keep={list(keep)}: expected one or more units of z among them")


def _layers(net: nn.Module) -> list[nn.Linear]:
    return [part for part in net.modules() if isinstance(part, nn.Linear)]


def _fix_inputs(net: nn.Module, kept: Tensor, values: Tensor) -> None:
    """Fix some of a network's last inputs, those not in the mask `kept`, at their values."""
    layer = _layers(net)[0]
    before, last = layer.weight.split([layer.in_features - len(kept), len(kept)], 1)
    layer.bias.data = layer.bias + last[:, ~kept] @ values[~kept]
    layer.weight.data = torch.cat([before, last[:, kept]], 1)  # (outputs, inputs that stay)
    layer.in_features = layer.weight.shape[1]


def _drop_outputs(net: nn.Module, kept: Tensor) -> None:
    """Drop a network's outputs that are not in the mask `kept`."""
    layer = _layers(net)[-1]
    layer.weight.data, layer.bias.data = layer.weight[kept], layer.bias[kept]
