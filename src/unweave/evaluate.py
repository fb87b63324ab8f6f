"""What a trained model is worth: exact information terms, test scores, and the pictures' arrays, into the run folder.

Writes scores.json (numbers, nats per item, with standard errors) and evaluation.npz (arrays); a report reads both.
Information terms use q(z) summed over the whole training part, averaged over as many of its items as `points` says.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from . import artifact
from .aggregate import exact, log_mixture
from .bounds import breaches
from .card import write_card
from .data import Data
from .disk import replacing, write_json
from .groups import Block, Tree, block
from .marginals import log_marginals, unit_shape
from .metrics import battery, clustering_accuracy
from .models.model import Model, code, hard, is_discrete, mean, seeded, unit_names
from .objective import Atom, Densities, elbo, evidence, recon
from .trace import Node, Trace
from .train import PRIOR_DRAWS, Kept, Recipe, Trainer, decomposition

QUANTILES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)


def evaluate(recipe: Recipe, model: Model, folder: str | Path, *, points: int = 2000) -> dict[str, Any]:
    """Scores `model` on the recipe's data and writes scores.json, evaluation.npz and the model card."""
    folder = Path(folder)
    model = model.cpu().eval()
    with torch.random.fork_rng():
        trainer = Trainer(recipe, "cpu")
    trainer.model = model
    train = recipe.parts()[0]
    test = recipe.test or train
    with torch.no_grad(), seeded(recipe.seed):
        q = _encoded(model, trainer.train.x)
        some = torch.randperm(len(train))[:points].sort().values
        scores: dict[str, Any] = {"test": _test_scores(model, test, recipe)}
        if any(node.dist is not None for node in q.values()):
            scores |= _information(model, trainer.train.x, q, some, recipe.groups)
            _add_minibatch(scores["terms"], trainer)
            scores |= {"batch": recipe.batch, "log_n": math.log(len(train))}
            scores["breaches"] = _breaches(scores["terms"], trainer)
            if train.names:
                scores |= _class_information(q, some, train)
        if test.names:
            scores |= {"factor": test.names[0], "classes": list(test.values[0])}
            scores["metrics"] = _metrics(model, test)
        drawn = q.draw()
        scores |= _discrete_scores(model, drawn, test)
        arrays = _pictures(model, drawn, test)
    write_json(folder / "scores.json", scores)
    with replacing(folder / "evaluation.npz") as draft, open(draft, "wb") as file:
        np.savez_compressed(file, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    write_card(folder, artifact.read_config(folder), scores)
    return scores


def _chunks(x: Tensor | Kept, rows: int = 4096) -> Iterator[Tensor]:
    """The items in turn, in equal parts of at most so many, as floats."""
    parts = math.ceil(len(x) / rows)
    return (x[len(x) * i // parts : len(x) * (i + 1) // parts] for i in range(parts))


@torch.no_grad()
def _encoded(model: Model, x: Tensor | Kept, rows: int = 4096) -> Trace:
    """The encoder's trace of all items, which are encoded some at a time."""
    chunks = _chunks(x, rows)
    part: Trace = model.encoder(chunk := next(chunks))
    if len(chunk) == len(x):
        return part
    whole = part.take(torch.arange(len(x)) % len(chunk))  # the first items in their places, the others to be filled in
    start = len(chunk)
    for chunk in chunks:
        for name, node in model.encoder(chunk).aligned().items():
            _fill(whole[name], node, start)
        start += len(chunk)
    return whole


def _fill(whole: Node | Distribution, part: Node | Distribution, start: int) -> None:
    """Writes the part's tensors into the whole's, from item `start` on; they differ in length along the items."""
    for key, t in vars(part).items():
        room = vars(whole)[key]
        if isinstance(t, Distribution):
            _fill(room, t, start)
        elif isinstance(t, Tensor) and t.shape != room.shape:
            (dim,) = (d for d, (size, all_) in enumerate(zip(t.shape, room.shape, strict=True)) if size != all_)
            room.narrow(dim, start, t.shape[dim]).copy_(t)


def _posterior(model: Model, data: Data) -> Trace:
    """What `model.posterior` says of all items, some encoded at a time."""
    with seeded(0):
        return _encoded(model, Kept(data.x)).draw()


def _with_error(values: Tensor) -> list[float]:
    return [float(values.mean()), float(values.std() / math.sqrt(max(len(values), 1)))]


def _test_scores(model: Model, test: Data, recipe: Recipe, rows: int = 1000) -> dict[str, list[float]]:
    parts: dict[str, list[Tensor]] = {}
    for x in _chunks(Kept(test.x), rows):
        x = x if recipe.samples == 1 else x.expand(recipe.samples, *x.shape)
        d = Densities(*model(x), groups=recipe.groups, batch_dim=x.ndim - test.x.ndim)
        named = {"elbo": elbo, "recon": recon, "kl": recon - elbo} if d.latents else {"recon": recon}
        if recipe.samples > 1:
            named["evidence"] = evidence
        for name, term in named.items():
            value = d.score(term)
            parts.setdefault(name, []).append(value if recipe.samples == 1 else value.mean(0))
    return {name: _with_error(torch.cat(values)) for name, values in parts.items()}


def _information(model: Model, x: Tensor | Kept, q: Trace, some: Tensor, groups: Tree | None) -> dict[str, Any]:
    """The exact decomposition, and the information in each unit; classes of enumerated sites are drawn for the rows."""
    own = q.take(some)
    rows = own.draw()
    p = model.decoder(x[some], rows)
    prior = partial(model.decoder, None, rows.free(PRIOR_DRAWS))
    d = Densities(rows, p, groups=groups, aggregate=exact(q), kl="sampled", prior=prior)
    gaps = {} if q.classes() else _dependence(model, x, rows, d)
    terms = {}
    for name, term in decomposition(d).items():
        value, error = _with_error(d.score(term))
        for level, gap in gaps.items():
            c = term.coefficients.get(Atom("q", level))
            weight = c if isinstance(c, float) else 0.0
            shift, spread = _with_error(gap)
            value, error = value + weight * shift, math.hypot(error, weight * spread)
        terms[name] = {"exact": value, "se": error}
    units = [(unit, site) for site, node in rows.items() for unit in unit_names(site, node)]
    return {
        "terms": terms,
        "exact_n": len(x),
        "exact_points": len(some),
        "units": [unit for unit, _ in units],
        "unit_group": [site for _, site in units],
        "I(x;z)": {unit: _with_error(_gain(unit, own, d)) for unit, _ in units},
    }


def _gain(unit: str, own: Trace, d: Densities) -> Tensor:
    """log q(unit|x) − log q(unit) of each row: over its own classes, and over all items and theirs."""
    part, depth = block(unit, d.shapes), len(own.classes())
    assert d.aggregate is not None
    log_q_x = log_mixture(d.q.aligned(depth), own, [part], None, depth)[0]
    return log_q_x.reshape(log_q_x.shape[depth:]) - d.aggregate(d.q, [part], 0)[0]


def _dependence(model: Model, x: Tensor | Kept, rows: Trace, d: Densities, pairs: int = 4 * 10**6) -> dict[int, Tensor]:
    """By level: log q of its blocks with sites that depend on one another, less what independence would give.

    An aggregate holds y_n where a program draws z ~ q(z|x_n, y_n). For a block of several sites the exact sum,

    .. math:: q(y_i, z_i) = \\frac{1}{N} \\sum_n q(y_i|x_n) q(z_i|x_n, y_i),

    runs the encoder on every item with the site fixed at y_i: for as many rows i as keep N·i below `pairs`.
    """
    able = set(inspect.signature(model.encoder.forward).parameters)
    n = len(next(iter(rows.values())).value)
    few = rows.take(torch.linspace(0, n - 1, max(2, min(n, pairs // len(x)))).round().long())  # from first to last
    gaps = {}
    for level, blocks in enumerate(d.levels):
        joint = [b for b in blocks if len(b) > 1 and any(site in able for site, _ in b)]
        if not joint:
            continue
        held = d.aggregate(few, joint, 0) if d.aggregate else []
        gaps[level] = sum(
            (_joint(model, x, few, b) - log_q for b, log_q in zip(joint, held, strict=True)), torch.zeros(())
        )
    return gaps


def _joint(model: Model, x: Tensor | Kept, rows: Trace, part: Block) -> Tensor:
    """log q(block_i) of one block by running the encoder on all items with its sites given as row i's, (rows,)."""
    able = set(inspect.signature(model.encoder.forward).parameters)
    log_q = []
    for i in range(len(next(iter(rows.values())).value)):
        densities = []
        for some in _chunks(x):
            row = {site: rows[site].value[i].expand(len(some), *rows[site].value.shape[1:]) for site, _ in part}
            q = model.encoder(some, **{site: value for site, value in row.items() if site in able})
            parts = (log_marginals(dist, row[site], 1, [units])[0] for site, units in part if (dist := q[site].dist))
            densities.append(sum(parts, torch.zeros(())))
        log_q.append(torch.cat(densities).logsumexp(0) - math.log(len(x)))
    return torch.stack(log_q)


def _add_minibatch(terms: dict[str, Any], trainer: Trainer, batches: int = 100) -> None:
    """Beside each exact term, what the training's estimator says of it: mean and spread over batches."""
    seen: dict[str, list[float]] = {name: [] for name in terms}
    for items in trainer.epoch_order(0)[:batches]:
        x, labels = trainer.train.batch(items)
        d = trainer.densities(*trainer.model(x, **labels))
        for name, value in trainer.terms(d).items():
            if name in seen:
                seen[name].append(float(value))
    for name, values in seen.items():
        terms[name] |= {"minibatch": float(np.mean(values)), "minibatch_sd": float(np.std(values))}


def _breaches(terms: dict[str, Any], trainer: Trainer, batches: int = 100) -> list[str]:
    """Values that cannot be, exact ones and the training's, with what would mend them."""
    n = len(trainer.train)
    exactly = {name: (term["exact"], term["se"]) for name, term in terms.items()}
    training = {name: (term["minibatch"], term["minibatch_sd"] / math.sqrt(batches)) for name, term in terms.items()}
    return [
        *(f"{text}; take more points" for text in breaches(exactly, n, f"the exact sum over {n:,} items")),
        *(f"{text}, read the exact value instead" for text in breaches(training, n, trainer.estimator)),
    ]


def _class_information(q: Trace, some: Tensor, data: Data) -> dict[str, Any]:
    """I(v; z_block) = E[log q(z_block|v) − log q(z_block)] of each factor v of the data; of the first, class by class.

    q(z|v) averages q(z|x_n) over the items of class v; the row of class v is KL(q(z_block|v) ‖ q(z_block)). Items whose
    factor is missing are left out of its part.
    """
    rows = q.take(some).draw()
    units = [(unit, "unit") for site, node in rows.items() for unit in unit_names(site, node) if unit != site]
    columns = [(site, "group") for site in rows] + units
    shapes = {site: unit_shape(node.dist, node.value, 1) for site, node in rows.items() if node.dist is not None}
    blocks = [block(name, shapes) for name, _ in columns]

    def log_q(items: Tensor, of: Trace) -> Tensor:
        """(blocks, rows of `of`): log q(z_block) over some items alone."""
        return torch.stack(exact(q.take(items))(of, blocks, 0))

    factors = torch.as_tensor(data.factors)
    whole = log_q(torch.arange(len(factors)), rows) if (factors >= 0).all() else None
    found: dict[str, Any] = {}
    about: dict[str, Any] = {"names": [name for name, _ in columns], "factors": [], "total": [], "entropy": []}
    for name, size, labels in zip(data.names, data.sizes, factors.T, strict=True):
        at = (labels[some] >= 0).nonzero().squeeze(1)
        if not len(at):
            continue
        own, its = labels[some[at]], rows.take(at)
        over = whole[:, at] if whole is not None else log_q((labels >= 0).nonzero().squeeze(1), its)
        gain = over.new_empty(len(at), len(blocks))
        for c in own.unique():
            here = (own == c).nonzero().squeeze(1)
            gain[here] = (log_q((labels == c).nonzero().squeeze(1), its.take(here)) - over[:, here]).T
        share = torch.bincount(labels[labels >= 0], minlength=size) / (labels >= 0).sum()
        entropy = -float((share * share.clamp_min(1e-12).log()).sum())
        about["factors"].append(name)
        about["total"].append(gain.mean(0).tolist())
        about["entropy"].append(entropy)
        if name == data.names[0]:
            found["I(y;z)"] = {
                "names": about["names"],
                "kinds": [kind for _, kind in columns],
                "total": gain.mean(0).tolist(),
                "per_class": [gain[own == c].mean(0).tolist() if (own == c).any() else None for c in range(size)],
            }
            found["entropy_y"] = entropy
    return found | ({"I(v;z)": about} if len(data.names) > 1 and about["factors"] else {})


def _metrics(model: Model, test: Data, most: int = 10_000) -> dict[str, dict[str, Any]]:
    """Metrics of the test items' codes against their factors, by their names in `METRICS`."""
    some = test.subset(np.arange(min(most, len(test))))
    codes = torch.cat([code(node).flatten(1) for node in _posterior(model, some).values()], -1).numpy()
    try:
        found = battery.scores(codes, some.factors)
    except ValueError:  # no factor that has two classes, or too few items
        return {}
    return {
        key: {
            "name": score.name,
            "value": score.value if math.isfinite(score.value) else None,
            "convention": score.convention,
            "range": [end if math.isfinite(end) else None for end in score.range],
            "parts": {k: float(v) for k, v in score.parts.items() if isinstance(v, float) and math.isfinite(v)},
            "notes": list(score.notes),
        }
        for key, score in zip(battery.METRICS, found, strict=True)
    }


def _discrete_scores(model: Model, q: Trace, test: Data) -> dict[str, Any]:
    """Of each discrete site: entropy left in it given x, its information, and its agreement with the labels."""
    scores: dict[str, dict[str, float]] = {"accuracy": {}, "conditional_entropy": {}, "discrete_information": {}}
    for site, node in q.items():
        if not is_discrete(node) or node.dist is None:
            continue
        probs: Tensor = node.dist.mean
        left = -torch.special.xlogy(probs, probs).sum(-1).mean()
        total = -torch.special.xlogy(probs.mean(0), probs.mean(0)).sum()
        scores["conditional_entropy"][site] = float(left)
        scores["discrete_information"][site] = float(total - left)
        if test.names and (known := test.factors[:, 0] >= 0).any():
            classes = code(_posterior(model, test)[site]).long().squeeze(-1).numpy()
            scores["accuracy"][site] = clustering_accuracy(classes[known], test.factors[known, 0])
    return {name: values for name, values in scores.items() if values}


def _pictures(model: Model, q: Trace, test: Data) -> dict[str, Any]:
    labels = test.factors[:, 0] if test.names else np.zeros(len(test.x), np.int64)
    kinds = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    spread = [items[i] for i in range(20) for items in kinds if i < len(items)][:20]
    x = test.floats(spread)
    shape = x.shape[1:]
    arrays: dict[str, Any] = {"x": x, "labels": labels[spread], "reconstruction": _shaped(model.reconstruct(x), shape)}
    start = {site: hard(node) for site, node in model.posterior(x[:5]).items()}
    for site, node in q.items():
        for column, unit in enumerate(unit_names(site, node)):
            values, at = _range(node, column)
            arrays[f"traversal/{unit}"] = _shaped(_traverse(model, start, site, column, values), shape, 2)
            arrays[f"traversal_at/{unit}"] = at
    arrays["traversal_quantiles"] = np.array(QUANTILES)
    if any(node.dist is not None for node in q.values()):
        with seeded(0):
            arrays["prior_samples"] = _shaped(mean(model.decoder(None, q.free(60))), shape)
    return arrays | _embedding(model, test, labels)


def _shaped(means: Tensor, shape: tuple[int, ...], lead: int = 1) -> Tensor:
    """A decoder's means as items of the data's shape, where it gives as many numbers in another one."""
    same = means.shape[lead:].numel() == math.prod(shape)
    return means.reshape(*means.shape[:lead], *shape) if same else means


def _range(node: Node, column: int) -> tuple[Tensor, Tensor]:
    """Values that a unit runs through: each class, or quantiles of its draws over the data set."""
    if is_discrete(node):
        classes = node.value.shape[-1]
        return torch.eye(classes, dtype=node.value.dtype), torch.arange(classes)
    at = node.value.flatten(1)[:, column].double().quantile(torch.tensor(QUANTILES, dtype=torch.double))
    return at.to(node.value.dtype), at


def _traverse(model: Model, start: dict[str, Tensor], site: str, column: int, values: Tensor) -> Tensor:
    """(starting items, values, …): what changes as one unit runs through `values`, the others held."""
    strips = []
    for value in values:
        codes = {name: held.clone() for name, held in start.items()}
        if value.ndim:
            codes[site] = value.expand_as(codes[site])
        else:
            codes[site].flatten(1)[:, column] = value
        strips.append(model.decode(**codes))
    return torch.stack(strips, 1)


def _embedding(model: Model, test: Data, labels: np.ndarray[Any, Any], most: int = 1000) -> dict[str, Any]:
    """The codes in the plane: as they are if there are two, by t-SNE otherwise."""
    trace = model.posterior(test.floats(slice(most)))
    nodes = list(trace.items())
    codes = torch.cat([(n.value if n.dist is None else n.dist.mean).flatten(1) for _, n in nodes], -1).numpy()
    arrays: dict[str, Any] = {"embedding_labels": labels[:most]}
    if codes.shape[1] == 2:
        names = [name for site, node in nodes for name in unit_names(site, node)]
        return arrays | {"embedding": codes, "embedding_kind": "codes", "embedding_names": np.array(names)}
    from sklearn.manifold import TSNE

    plane = TSNE(2, init="pca", perplexity=min(30, len(codes) / 4), random_state=0).fit_transform(codes)
    return arrays | {"embedding": plane, "embedding_kind": "t-SNE of codes"}
