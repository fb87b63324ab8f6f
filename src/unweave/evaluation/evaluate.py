"""What a trained model is worth: exact information terms, test scores, and the pictures' arrays,
into the run folder.

Writes scores.json (numbers, nats per item, with standard errors) and evaluation.npz (arrays); a
report reads both. Information terms use q(z) summed over the whole training part, averaged over as
many of its items as `points` says, or else the recipe.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ..aggregate.mixture import exact, log_mixture
from ..data import Data
from ..metrics import battery, clustering_accuracy
from ..metrics.score import described, named
from ..models.model import Model, code, hard, is_discrete, mean, seeded, unit_names
from ..objective.bounds import breaches
from ..objective.objective import Atom, Densities, elbo, evidence, recon
from ..runs.files import replacing, write_json
from ..runs.findings import packed
from ..trace.groups import Block, Tree, block
from ..trace.marginals import log_marginals, unit_shape
from ..trace.node import Law, Node
from ..trace.trace import Trace
from ..training.trainer import PRIOR_DRAWS, Kept, Recipe, Trainer, decomposition

MANY = 100
"""Units of a code; of more, sites stand as wholes."""

SHOWN_CLASSES = 16
"""Classes that a traversal shows; of more, twelve."""

QUANTILES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)


def evaluate(
    recipe: Recipe, model: Model, folder: str | Path, *, points: int | None = None
) -> dict[str, Any]:
    """Scores `model` on the recipe's data and writes scores.json and evaluation.npz."""
    folder = Path(folder)
    model = model.cpu()
    with torch.random.fork_rng():
        trainer = Trainer(
            replace(recipe, model=lambda: model), "cpu"
        )  # a model may take long to build
    model.eval()
    train = recipe.parts()[0]
    test = recipe.test or train
    scores: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    with torch.no_grad(), seeded(recipe.seed):
        q = _encoded(model, trainer.train.x)
        some = torch.randperm(len(train))[: points or recipe.points].sort().values
        with _unless("scores of test items", skipped):
            scores["test"] = _test_scores(model, test, recipe)
        if any(node.dist is not None for node in q.values()):
            scores |= {"batch": recipe.batch, "log_n": math.log(len(train))}
            with _unless("information and the terms of the bound", skipped):
                terms = _information(model, trainer.train.x, q, some, recipe.groups)
                factorises = _add_minibatch(terms["terms"], trainer)
                breached = _breaches(terms["terms"], trainer, factorises)
                scores |= terms | {"breaches": breached, "prior_factorises": factorises}
            if train.names:
                with _unless("information about factors", skipped):
                    if (train.factors >= 0).mean() >= (test.factors >= 0).mean():
                        scores |= _class_information(q, some, train)
                    else:  # labels are held back from training: the test data's are all there
                        few = torch.randperm(len(test))[: points or recipe.points].sort().values
                        scores |= _class_information(_encoded(model, Kept(test.x)), few, test)
        drawn = q.draw()
        with _unless("discrete sites", skipped):
            scores |= _discreteness(drawn)
        if test.names:
            scores |= {"factor": test.names[0], "classes": list(test.values[0])}
            seen = _posterior(model, test)
            with _unless("agreement with labels", skipped):
                scores |= _agreement(seen, test, recipe.labels)
            with _unless("metrics of codes against factors", skipped):
                scores["metrics"] = _metrics(seen, test)
        arrays |= _pictures(model, drawn, test, skipped)
    if recipe.findings is not None:
        with torch.no_grad(), seeded(recipe.seed):
            scores["findings"], shown = packed(recipe.findings(model, recipe))
        arrays |= shown
    if skipped:
        scores["skipped"] = skipped
    write_json(folder / "scores.json", scores)
    with replacing(folder / "evaluation.npz") as draft, open(draft, "wb") as file:
        np.savez_compressed(file, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return scores


@contextmanager
def _unless(what: str, skipped: dict[str, str]) -> Iterator[None]:
    """A part of the evaluation that some models have no place for: what stopped it is noted, and
    said.
    """
    try:
        yield
    except Exception as error:
        skipped[what] = str(error) or type(error).__name__
        print(f"note: {what}: left out, {skipped[what]}", file=sys.stderr, flush=True)


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
    whole = part.take(
        torch.arange(len(x)) % len(chunk)
    )  # the first items in their places, the others to be filled in
    start = len(chunk)
    for chunk in chunks:
        for name, node in model.encoder(chunk).aligned().items():
            _fill(whole[name], node, start)
        start += len(chunk)
    return whole


def _fill(whole: Node | Distribution, part: Node | Distribution, start: int) -> None:
    """Writes the part's tensors into the whole's, from item `start` on; they differ in length along
    the items.
    """
    for key, t in vars(part).items():
        room = vars(whole)[key]
        if isinstance(t, Distribution):
            _fill(room, t, start)
        elif isinstance(t, Law):
            for own, some in zip(room.inputs, t.inputs, strict=True):
                _place(own, some, start)
        elif isinstance(t, Tensor):
            _place(room, t, start)


def _place(room: Tensor, t: Tensor, start: int) -> None:
    if t.shape != room.shape:
        (dim,) = (
            d
            for d, (size, all_) in enumerate(zip(t.shape, room.shape, strict=True))
            if size != all_
        )
        room.narrow(dim, start, t.shape[dim]).copy_(t)


def _posterior(model: Model, data: Data) -> Trace:
    """What `model.posterior` says of all items, some encoded at a time."""
    with seeded(0):
        return _encoded(model, Kept(data.x)).draw()


def _with_error(values: Tensor) -> list[float]:
    return [float(values.mean()), float(values.std() / math.sqrt(max(len(values), 1)))]


def _test_scores(
    model: Model, test: Data, recipe: Recipe, rows: int = 1000
) -> dict[str, list[float]]:
    parts: dict[str, list[Tensor]] = {}
    for x in _chunks(Kept(test.x), rows):
        x = x if recipe.samples == 1 else x.expand(recipe.samples, *x.shape)
        d = Densities(*model(x), groups=recipe.groups, batch_dim=x.ndim - test.x.ndim)
        named = (
            {"elbo": elbo, "recon": recon, "kl": recon - elbo} if d.latents else {"recon": recon}
        )
        if recipe.samples > 1:
            named["evidence"] = evidence
        for name, term in named.items():
            value = d.score(term)
            parts.setdefault(name, []).append(value if recipe.samples == 1 else value.mean(0))
    return {name: _with_error(torch.cat(values)) for name, values in parts.items()}


def _information(
    model: Model, x: Tensor | Kept, q: Trace, some: Tensor, groups: Tree | None
) -> dict[str, Any]:
    """The exact decomposition, and the information in each unit; classes of enumerated sites are
    drawn for the rows.
    """
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
    units = units if len(units) <= MANY else [(site, site) for site in rows]
    return {
        "terms": terms,
        "exact_n": len(x),
        "exact_points": len(some),
        "units": [unit for unit, _ in units],
        "unit_group": [site for _, site in units],
        "I(x;z)": {unit: _with_error(_gain(unit, own, d)) for unit, _ in units},
    }


def _gain(unit: str, own: Trace, d: Densities) -> Tensor:
    """log q(unit|x) − log q(unit) of each row: over its own classes, and over all items and
    theirs.
    """
    part, depth = block(unit, d.shapes), len(own.classes())
    assert d.aggregate is not None
    log_q_x = log_mixture(d.q.aligned(depth), own, [part], None, depth)[0]
    return log_q_x.reshape(log_q_x.shape[depth:]) - d.aggregate(d.q, [part], 0)[0]


def _dependence(
    model: Model, x: Tensor | Kept, rows: Trace, d: Densities, pairs: int = 4 * 10**6
) -> dict[int, Tensor]:
    """By level: log q of its blocks with sites that depend on one another, less what independence
    would give.

    An aggregate holds y_n where a program draws z ~ q(z|x_n, y_n). For a block of several sites the
    exact sum,

    .. math:: q(y_i, z_i) = \\frac{1}{N} \\sum_n q(y_i|x_n) q(z_i|x_n, y_i),

    runs the encoder on every item with the site fixed at y_i: for as many rows i as keep N·i below
    `pairs`.
    """
    able = set(inspect.signature(model.encoder.forward).parameters)
    n = len(next(iter(rows.values())).value)
    few = rows.take(
        torch.linspace(0, n - 1, max(2, min(n, pairs // len(x)))).round().long()
    )  # from first to last
    gaps = {}
    for level, blocks in enumerate(d.levels):
        joint = [b for b in blocks if len(b) > 1 and any(site in able for site, _ in b)]
        if not joint:
            continue
        held = d.aggregate(few, joint, 0) if d.aggregate else []
        gaps[level] = sum(
            (_joint(model, x, few, b) - log_q for b, log_q in zip(joint, held, strict=True)),
            torch.zeros(()),
        )
    return gaps


def _joint(model: Model, x: Tensor | Kept, rows: Trace, part: Block) -> Tensor:
    """log q(block_i) of one block by running the encoder on all items with its sites given as row
    i's, (rows,).
    """
    able = set(inspect.signature(model.encoder.forward).parameters)
    log_q = []
    for i in range(len(next(iter(rows.values())).value)):
        densities = []
        for some in _chunks(x):
            row = {
                site: rows[site].value[i].expand(len(some), *rows[site].value.shape[1:])
                for site, _ in part
            }
            q = model.encoder(some, **{site: value for site, value in row.items() if site in able})
            parts = (
                log_marginals(dist, row[site], 1, [units])[0]
                for site, units in part
                if (dist := q[site].dist)
            )
            densities.append(sum(parts, torch.zeros(())))
        log_q.append(torch.cat(densities).logsumexp(0) - math.log(len(x)))
    return torch.stack(log_q)


def _add_minibatch(terms: dict[str, Any], trainer: Trainer, batches: int = 100) -> bool:
    """Beside each exact term, what the training's estimator says of it: mean and spread over
    batches.

    Returns whether the prior factorises.
    """
    seen: dict[str, list[float]] = {name: [] for name in terms}
    for items in trainer.epoch_order(0)[:batches]:
        x, labels = trainer.train.batch(items)
        d = trainer.densities(*trainer.model(x, **labels))
        for name, term in decomposition(d).items():
            seen[name].append(float(d.score(term).mean()))
    for name, values in seen.items():
        terms[name] |= {"minibatch": float(np.mean(values)), "minibatch_sd": float(np.std(values))}
    return d.factorises


def _breaches(
    terms: dict[str, Any], trainer: Trainer, factorises: bool, batches: int = 100
) -> list[str]:
    """Values that cannot be, exact ones and the training's, with what would mend them."""
    n = len(trainer.train)
    exactly = {name: (term["exact"], term["se"]) for name, term in terms.items()}
    training = {
        name: (term["minibatch"], term["minibatch_sd"] / math.sqrt(batches))
        for name, term in terms.items()
    }
    judged = partial(breaches, n=n, factorises=factorises)
    return [
        *(
            f"{text}; take more points"
            for text in judged(exactly, by=f"the exact sum over {n:,} items")
        ),
        *(
            f"{text}, read the exact value instead"
            for text in judged(training, by=trainer.estimator)
        ),
    ]


def _class_information(q: Trace, some: Tensor, data: Data) -> dict[str, Any]:
    """I(v; z_block) = E[log q(z_block|v) − log q(z_block)] of each factor v of the data; of the
    first, class by class.

    q(z|v) averages q(z|x_n) over the items of class v; the row of class v is KL(q(z_block|v) ‖
    q(z_block)). Items whose factor is missing are left out of its part.
    """
    rows = q.take(some).draw()
    units = [
        (unit, "unit")
        for site, node in rows.items()
        for unit in unit_names(site, node)
        if unit != site
    ]
    units = units if len(units) <= MANY else []
    columns = [(site, "group") for site in rows] + units
    shapes = {
        site: unit_shape(node.dist, node.value, 1)
        for site, node in rows.items()
        if node.dist is not None
    }
    blocks = [block(name, shapes) for name, _ in columns]

    def log_q(items: Tensor, of: Trace) -> Tensor:
        """(blocks, rows of `of`): log q(z_block) over some items alone."""
        return torch.stack(exact(q.take(items))(of, blocks, 0))

    factors = torch.as_tensor(data.factors)
    whole = log_q(torch.arange(len(factors)), rows) if (factors >= 0).all() else None
    found: dict[str, Any] = {}
    about: dict[str, Any] = {
        "names": [name for name, _ in columns],
        "factors": [],
        "total": [],
        "entropy": [],
    }
    for name, size, labels in zip(data.names, data.sizes, factors.T, strict=True):
        at = (labels[some] >= 0).nonzero().squeeze(1)
        if not len(at):
            continue
        own, its = labels[some[at]], rows.take(at)
        over = whole[:, at] if whole is not None else log_q((labels >= 0).nonzero().squeeze(1), its)
        gain = over.new_empty(len(at), len(blocks))
        for c in own.unique():
            here = (own == c).nonzero().squeeze(1)
            gain[here] = (
                log_q((labels == c).nonzero().squeeze(1), its.take(here)) - over[:, here]
            ).T
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
                "per_class": [
                    gain[own == c].mean(0).tolist() if (own == c).any() else None
                    for c in range(size)
                ],
            }
            found["entropy_y"] = entropy
    return found | ({"I(v;z)": about} if len(data.names) > 1 and about["factors"] else {})


def _metrics(seen: Trace, test: Data, most: int = 10_000) -> dict[str, dict[str, Any]]:
    """Metrics of the test items' codes against their factors, by their names in `METRICS`.

    Errors: ValueError if no factor has two classes, or there are too few items.
    """
    codes = torch.cat([code(node).flatten(1)[:most] for node in seen.values()], -1).numpy()
    found = battery.scores(codes, test.factors[:most])
    return {
        key: described(
            replace(
                score,
                parts={name: part for name, part in score.parts.items() if isinstance(part, float)},
                notes=tuple(named(note, test.names) for note in score.notes),
            )
        )
        | {"asks": battery.question(key)}
        for key, score in zip(battery.METRICS, found, strict=True)
    }


def _discreteness(q: Trace) -> dict[str, Any]:
    """Of each discrete site: the entropy left in it given x, and what of its entropy that is not,
    I(x;y).

    Of a site of several units, the sums over its units.
    """
    left: dict[str, float] = {}
    information: dict[str, float] = {}
    for site, node in q.items():
        if is_discrete(node) and node.dist is not None:
            probs: Tensor = node.dist.mean
            left[site] = -float(torch.special.xlogy(probs, probs).flatten(1).sum(1).mean())
            information[site] = (
                -float(torch.special.xlogy(probs.mean(0), probs.mean(0)).sum()) - left[site]
            )
    return {"conditional_entropy": left, "discrete_information": information} if left else {}


def _agreement(seen: Trace, test: Data, labels: Mapping[str, str]) -> dict[str, Any]:
    """How a discrete site's most probable classes agree with labels: trained ones as they are,
    others by best match.

    "error" has, of each site in `labels`, the share of items whose class is not their label, and
    its standard error; "accuracy" of the others the share that agrees with the first factor once
    classes are matched to labels one to one. Items without the label are left out; sites of several
    units too, and sites that some items do not have.
    """
    errors: dict[str, list[float]] = {}
    accuracy: dict[str, float] = {}
    for site, node in seen.items():
        factor = labels.get(site, test.names[0])
        if not is_discrete(node) or len(unit_names(site, node)) != 1 or factor not in test.names:
            continue
        if isinstance(node.exists, Tensor):
            continue
        classes, label = (
            code(node).long().flatten().numpy(),
            test.factors[:, test.names.index(factor)],
        )
        known = label >= 0
        if known.any() and site in labels:
            errors[site] = _with_error(torch.as_tensor(classes[known] != label[known]).double())
        elif known.any():
            accuracy[site] = clustering_accuracy(classes[known], label[known])
    return {name: found for name, found in (("error", errors), ("accuracy", accuracy)) if found}


def _pictures(model: Model, q: Trace, test: Data, skipped: dict[str, str]) -> dict[str, Any]:
    labels = test.factors[:, 0] if test.names else np.zeros(len(test.x), np.int64)
    spread = _spread(labels, 20)
    x = test.floats(spread)
    shape = x.shape[1:]
    arrays: dict[str, Any] = {"x": x, "labels": labels[spread]}
    with _unless("reconstructions", skipped):
        arrays["reconstruction"] = _shaped(model.reconstruct(x), shape)
    with _unless("what latent units do", skipped):
        arrays |= _traversals(model, q, x[:5])
    if any(node.dist is not None for node in q.values()):
        with _unless("samples of the prior", skipped), seeded(0):
            arrays["prior_samples"] = _shaped(mean(model.decoder(None, q.free(60))), shape)
    with _unless("the codes of the data", skipped):
        arrays |= _embedding(model, test, labels)
    return arrays


def _spread(labels: np.ndarray[Any, Any], most: int) -> list[int]:
    """Item numbers, of each class in turn, begun at another place in each: items of a class may
    stand in an order.
    """
    kinds = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    kinds = [np.roll(items, -int(0.618 * k % 1 * len(items))) for k, items in enumerate(kinds)]
    return [int(items[i]) for i in range(most) for items in kinds if i < len(items)][:most]


def _traversals(
    model: Model, q: Trace, x: np.ndarray[Any, Any], most: int = MANY
) -> dict[str, Any]:
    """For each unit, what the decoder makes of the items x as that unit alone runs through its
    values.

    Errors: ValueError if the code has more than `most` units.
    """
    units = [
        (unit, site, column)
        for site, n in q.items()
        for column, unit in enumerate(unit_names(site, n))
    ]
    if len(units) > most:
        raise ValueError(f"{len(units)} units are too many to be shown one by one")
    start = {site: hard(node) for site, node in model.posterior(x).items()}
    arrays: dict[str, Any] = {"traversal_quantiles": np.array(QUANTILES)}
    for unit, site, column in units:
        values, at = _range(q[site], column)
        arrays[f"traversal/{unit}"] = _shaped(
            _traverse(model, start, site, column, values), x.shape[1:], 2
        )
        arrays[f"traversal_at/{unit}"] = at
    return arrays


def _shaped(means: Tensor, shape: tuple[int, ...], lead: int = 1) -> Tensor:
    """A decoder's means as items of the data's shape, where it gives as many numbers in another
    one.
    """
    same = means.shape[lead:].numel() == math.prod(shape)
    return means.reshape(*means.shape[:lead], *shape) if same else means


def _range(node: Node, column: int) -> tuple[Tensor, Tensor]:
    """Values that a unit runs through: its classes, of many a few, or quantiles of its draws over
    the data set.
    """
    if is_discrete(node):
        classes = node.value.shape[-1]
        at = (
            torch.arange(classes)
            if classes <= SHOWN_CLASSES
            else torch.linspace(0, classes - 1, 12).round().long()
        )
        return torch.eye(classes, dtype=node.value.dtype)[at], at
    at = (
        node.value.flatten(1)[:, column]
        .double()
        .quantile(torch.tensor(QUANTILES, dtype=torch.double))
    )
    return at.to(node.value.dtype), at


def _traverse(
    model: Model, start: dict[str, Tensor], site: str, column: int, values: Tensor
) -> Tensor:
    """(starting items, values, …): what changes as one unit runs through `values`, the others
    held.
    """
    strips = []
    for value in values:
        codes = {
            name: held.clone(memory_format=torch.contiguous_format) for name, held in start.items()
        }
        units = codes[site].view(
            len(codes[site]), -1, *value.shape
        )  # (n, units) of numbers, (n, units, classes)
        units[:, column] = value
        strips.append(model.decode(**codes))
    return torch.stack(strips, 1)


def _embedding(
    model: Model, test: Data, labels: np.ndarray[Any, Any], most: int = 1000
) -> dict[str, Any]:
    """The codes in the plane: as they are if there are two, by t-SNE otherwise."""
    trace = model.posterior(test.floats(slice(most)))
    nodes = list(trace.items())
    codes = torch.cat(
        [(n.value if n.dist is None else n.dist.mean).flatten(1) for _, n in nodes], -1
    ).numpy()
    if codes.shape[1] < 2:
        raise ValueError("one number an item is no place in a plane")
    arrays: dict[str, Any] = {"embedding_labels": labels[:most]}
    if codes.shape[1] == 2:
        names = [name for site, node in nodes for name in unit_names(site, node)]
        return arrays | {
            "embedding": codes,
            "embedding_kind": "codes",
            "embedding_names": np.array(names),
        }
    from sklearn.manifold import TSNE

    plane = TSNE(2, init="pca", perplexity=min(30, len(codes) / 4), random_state=0).fit_transform(
        codes
    )
    return arrays | {"embedding": plane, "embedding_kind": "t-SNE of codes"}
