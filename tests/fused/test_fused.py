"""The fused estimate is the plain one, to the last gradient, by every back end; and it is as
accurate and as small.
"""

import math
import random

import pytest
import torch
from support.programs import (
    covariances,
    drawn,
    encode,
    float64,  # noqa: F401
    same,
    tree,
)
from torch.distributions import Independent, MultivariateNormal, Normal, OneHotCategorical

import unweave as uw
from unweave.aggregate import pairs
from unweave.fused import native, pure, sweep
from unweave.fused import plan as plans
from unweave.trace import groups, marginals
from unweave.trace.groups import chain
from unweave.trace.marginals import log_marginals

SHAPES = {"z": (3,), "w": (2, 2), "y": (), "u": (2,), "s": (2,)}
BODIES = [pure.Pure, *([native.Native] if native.library() else [])]


def leaves_of(q):
    """An independent leaf for every value and parameter of a trace, and the trace made of them."""
    leaf = {}
    new = uw.Trace()
    for name, node in q.items():
        base = marginals.unwrap(node.dist)
        value = leaf[name] = node.value.detach().requires_grad_()
        if hasattr(base, "covariance_matrix"):
            loc, root = (
                base.loc.detach().requires_grad_(),
                base.scale_tril.detach().requires_grad_(),
            )
            dist = type(base)(loc, scale_tril=root)
            leaf |= {name + ".loc": loc, name + ".root": root}
        elif hasattr(base, "loc"):
            loc, scale = base.loc.detach().requires_grad_(), base.scale.detach().requires_grad_()
            dist = type(base)(loc, scale)
            leaf |= {name + ".loc": loc, name + ".scale": scale}
        else:
            logits = leaf[name + ".logits"] = base.logits.detach().requires_grad_()
            dist = (
                uw.Concrete(logits, base.temperature)
                if isinstance(base, uw.Concrete)
                else type(base)(logits=logits)
            )
        new._add(name, uw.Node(value, "sampled", dist, node.observed))
    return new, leaf


def plain(q, posterior, blocks, log_w, batch_dim, first=0):
    """All pairs at once, (items, *samples, components), by torch's own densities and autograd."""
    own, following, other = log_w
    lead, total = batch_dim + 1, []
    for block in blocks:
        pair = torch.zeros(())
        for site, units in block:
            value, dist, observed = q[site].value, posterior[site].dist, q[site].observed
            keep = (
                None
                if observed is False
                else ~torch.as_tensor(observed).expand(
                    value.shape[:lead] if observed is True else observed.shape
                )
            )
            rows, keep = (
                None if t is None else t.movedim(batch_dim, 0).unsqueeze(lead)
                for t in (value, keep)
            )
            pair = pair + log_marginals(dist, rows, lead + 1, [units], keep)[0]
        items, n = pair.shape[0], pair.shape[-1]
        w = torch.full((items, n), other, dtype=pair.dtype)
        for i in range(items):
            w[i, (first + i + 1) % n] = following
            w[i, (first + i) % n] = own
        total.append(
            (pair + w.reshape(items, *[1] * batch_dim, n)).logsumexp(-1).movedim(0, batch_dim)
        )
    return total


def logs(weights):
    return tuple(math.log(w) if w > 0 else -math.inf for w in weights)


@pytest.fixture(params=BODIES, ids=lambda b: b.__name__)
def body(request):
    return request.param


def agree(
    q, posterior, leaf, blocks, log_w, batch_dim, *, coef=None, ahead=None, body=None, first=0
):
    """Values and all gradients, fused and plain."""
    coef = [torch.randn(()) for _ in blocks] if coef is None else coef
    a = plain(q, posterior, blocks, log_w, batch_dim, first)
    b = pairs.log_mixture_fused(
        q, posterior, blocks, log_w, batch_dim, ahead=ahead, body=body, first=first
    )
    for x, y in zip(a, b, strict=True):
        same(y, x)
    for name, x, y in zip(leaf, *(gradient(log_q, coef, leaf) for log_q in (a, b)), strict=True):
        assert (x is None) == (y is None) or not torch.count_nonzero(x if y is None else y), name
        if x is not None and y is not None:
            same(y, x)


def gradient(log_q, coef, leaf):
    total = sum((c * x).sum() for c, x in zip(coef, log_q, strict=True))
    return torch.autograd.grad(total, list(leaf.values()), retain_graph=True, allow_unused=True)


# -- the plain estimate ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lead", [(5,), (3, 4), (2, 1, 3)])
@pytest.mark.parametrize("way", ["numbers", "tensors", "mixed", "another", "part", "none"])
def test_random_trees_and_every_way_to_the_gradient(body, seed, lead, way):
    """Coefficients ahead that are right, that are wrong, that leave a block out, and none: always
    the same gradient.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    q, leaf = leaves_of(encode(lead))
    blocks = list(
        dict.fromkeys(b for level in chain(tree(rng, 1 + seed % 3), SHAPES) for b in level)
    )
    log_w = logs([uw.balanced, uw.stratified, uw.weighted][seed % 3](lead[-1], 2 * lead[-1]))
    numbers = [rng.uniform(-1, 1) for _ in blocks]
    tensors = [w * torch.randn(lead) for w in numbers]
    coef, ahead = {
        "numbers": ([torch.tensor(-w / 7) for w in numbers], numbers),
        "tensors": (tensors, [3 * t for t in tensors]),
        "mixed": ([*tensors[:1], *map(torch.tensor, numbers[1:])], [*tensors[:1], *numbers[1:]]),
        "another": ([torch.tensor(w) for w in numbers], numbers[::-1]),
        "part": ([torch.tensor(w) for w in numbers[:-1]] + [torch.zeros(())], numbers),
        "none": (tensors, None),
    }[way]
    agree(q, q, leaf, blocks, log_w, len(lead) - 1, coef=coef, ahead=ahead, body=body)


@pytest.mark.parametrize("weights", [uw.balanced, uw.stratified, uw.weighted])
@pytest.mark.parametrize("batch", [2, 3, 9])
def test_weights_stand_where_the_plain_ones_do(body, weights, batch):
    q, leaf = leaves_of(normals(batch))
    agree(q, q, leaf, [(("z", (0, 1)),), (("z", (1,)),)], logs(weights(batch, 20)), 0, body=body)


@pytest.mark.parametrize("first", [0, 2, 5])
def test_rows_may_be_a_part_of_the_items(body, first):
    """As a rank holds them: row i is item first + i of all components."""
    posterior, leaf = leaves_of(normals(8))
    q = uw.Trace()
    q._add("z", uw.Node(torch.randn(3, 2).requires_grad_(), "sampled", Normal(0.0, 1.0)))
    leaf |= {"rows": q["z"].value}
    blocks = [(("z", (0, 1)),), (("z", (0,)),)]
    agree(q, posterior, leaf, blocks, logs(uw.stratified(8, 40)), 0, body=body, first=first)


@pytest.mark.parametrize("lead", [(5,), (3, 5), (2, 3, 5)])
def test_exact_scores_rows_against_a_posterior_without_samples(body, lead):
    posterior, leaf = leaves_of(encode((7,)))
    rows, more = leaves_of(encode(lead))
    blocks = list(
        dict.fromkeys(b for level in chain((("z", "y"), "w", ("u", "s")), SHAPES) for b in level)
    )
    values = {name: t for name, t in more.items() if "." not in name}
    agree(rows, posterior, leaf | values, blocks, (-math.log(7),) * 3, len(lead) - 1, body=body)


@pytest.mark.parametrize("lead", [(4,), (3, 4)])
def test_observed_entries_leave_their_blocks(body, lead):
    """Items of a Concrete and a categorical site, single units of a Normal one; what was given may
    be anything.
    """
    q, leaf = uw.Trace(), {}
    for name, units, dist in (
        ("z", (3,), "normal"),
        ("w", (2, 2), "normal"),
        ("y", (), "concrete"),
        ("c", (2,), "class"),
    ):
        node = site_of(lead, units, dist)
        seen = torch.rand(*lead, *(units if dist == "normal" else ())) < 0.5
        q._add(name, uw.Node(node.value, "observed", node.dist, seen))
    q._add(
        "o", uw.Node(torch.randn(*lead, 2), "observed", Normal(torch.zeros(*lead, 2), 1.0), True)
    )
    q, leaf = leaves_of(q)
    hostile = torch.where(q["z"].observed, math.nan, q["z"].value.detach())
    shapes = {"z": (3,), "w": (2, 2), "y": (), "c": (2,), "o": (2,)}
    parts = ("z y", "z w y c o", "z[:2]", "w[:,0] c[1]", "c", "y", "z[2]", "o[0]")
    blocks = [
        tuple(b for name in part.split() for b in groups.block(name, shapes)) for part in parts
    ]
    log_w = logs(uw.balanced(lead[-1], 30))
    agree(q, q, leaf, blocks, log_w, len(lead) - 1, body=body)
    given = uw.Trace()
    for name, node in q.items():
        given._add(
            name,
            uw.Node(hostile if name == "z" else node.value, node.role, node.dist, node.observed),
        )
    for x, y in zip(
        pairs.log_mixture_fused(given, q, blocks, log_w, len(lead) - 1, body=body),
        plain(q, q, blocks, log_w, len(lead) - 1),
        strict=True,
    ):
        same(x, y)


@pytest.mark.parametrize("lead", [(4,), (3, 4)])
@pytest.mark.parametrize(
    "kind", ["normal", "independent", "concrete", "class", "hot", "multivariate"]
)
def test_each_distribution_alone(body, lead, kind):
    q = uw.Trace()
    q._add("x", site_of(lead, (3,), kind))
    q, leaf = leaves_of(q)
    blocks = [(("x", (0, 1, 2)),), (("x", (1,)),), (("x", (0, 2)),)]
    agree(q, q, leaf, blocks, logs(uw.balanced(4, 30)), len(lead) - 1, body=body)


def site_of(lead, units, kind):
    shape = (*lead, *units)
    loc, scale, logits = torch.randn(shape), torch.rand(shape) + 0.3, torch.randn(*shape, 4)
    dist = {
        "normal": lambda: Normal(loc, scale),
        "independent": lambda: Independent(Normal(loc, scale), len(units)),
        "concrete": lambda: uw.Concrete(logits, 0.66),
        "hot": lambda: uw.Concrete(logits, torch.tensor(1.3)),  # a temperature that may be learned
        "class": lambda: OneHotCategorical(logits=logits),
        "multivariate": lambda: MultivariateNormal(loc, covariances(*shape)),
    }[kind]()
    return uw.Node(dist.rsample() if dist.has_rsample else dist.sample(), "sampled", dist)


def normals(n, units=2):
    return drawn(
        z=(Normal(torch.randn(n, units), torch.rand(n, units) + 0.2), torch.randn(n, units))
    )


def test_chunks_do_not_show(body, monkeypatch):
    """One row at a time, and all at once."""
    q, leaf = leaves_of(encode((2, 6)))
    blocks = list(
        dict.fromkeys(b for level in chain((("z", "y"), "w", ("u", "s")), SHAPES) for b in level)
    )
    monkeypatch.setitem(plans.BUDGET, "cpu", 1)
    agree(q, q, leaf, blocks, logs(uw.stratified(6, 30)), 1, ahead=[1.0] * len(blocks), body=body)


def test_without_gradients_nothing_is_kept(body):
    q = encode((5,))
    blocks = [(("u", (0, 1)), ("z", (0,))), (("y", (0,)),)]
    for x, y in zip(
        pairs.log_mixture_fused(q, q, blocks, (-1.0, -2.0, -3.0), 0, body=body),
        plain(q, q, blocks, (-1.0, -2.0, -3.0), 0),
        strict=True,
    ):
        same(x, y)
        assert not x.requires_grad


def test_the_backward_may_be_run_twice_and_by_other_weights(body):
    q, leaf = leaves_of(normals(6))
    blocks = [(("z", (0, 1)),), (("z", (1,)),)]
    log_q = pairs.log_mixture_fused(
        q, q, blocks, logs(uw.balanced(6, 30)), 0, ahead=[1.0, -2.0], body=body
    )
    once, twice = (gradient(log_q, [f * 1.0, f * -2.0], leaf) for f in (1.0, 5.0))
    for x, y in zip(once, twice, strict=True):
        same(y, 5 * x)


def test_components_of_a_batch_with_log_weights_of_their_own(body):
    """Two components an item, as enumerated classes are: rows' and components' items, and weights
    with a gradient.
    """
    n, units, log_w = 4, 3, (-1.0, -1.5, -2.0)
    z, mean = (
        torch.randn(1, 5, units).requires_grad_(),
        torch.randn(1, 2 * n, units).requires_grad_(),
    )
    std, log_v = (
        (torch.rand(1, 2 * n, units) + 0.5).requires_grad_(),
        torch.randn(1, 2 * n).requires_grad_(),
    )
    rows, comps = torch.tensor([3, 0, 1, 1, 2]), torch.arange(n).repeat(2)
    m = sweep.Mixture(log_w, rows, n, ((0, (0, 1, 2)), (0, (1,)), (0, ())), ((),), comps, body=body)
    fast = sweep.mixture(m, z, mean, std, log_v=log_v, ahead=torch.ones(3, 1, 5))
    w = torch.full((5, 2 * n), log_w[2])
    for i in range(5):
        for j in range(2 * n):
            w[i, j] = (
                log_w[0]
                if comps[j] == rows[i]
                else log_w[1]
                if comps[j] == (rows[i] + 1) % n
                else log_w[2]
            )
    pair = Normal(mean, std).log_prob(z[0][:, None])
    slow = torch.stack(
        [(pair[..., of].sum(-1) + w + log_v).logsumexp(-1) for of in ([0, 1, 2], [1], [])]
    )
    same(fast[:, 0], slow)
    leaves = (z, mean, std, log_v)
    for x, y in zip(
        torch.autograd.grad(fast.sum(), leaves),
        torch.autograd.grad(slow.sum(), leaves),
        strict=True,
    ):
        same(x, y)


def test_autocast_changes_nothing(body):
    q, _ = leaves_of(encode((5,)))
    blocks = [(("z", (0, 1, 2)), ("y", (0,)))]
    calm = pairs.log_mixture_fused(q, q, blocks, (-1.0, -2.0, -3.0), 0, body=body)
    with torch.autocast("cpu", torch.bfloat16):
        same(pairs.log_mixture_fused(q, q, blocks, (-1.0, -2.0, -3.0), 0, body=body), calm)


# -- the primitive ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [None, [1.0, -2.0, 0.5]])
def test_gradcheck(body, ahead):
    def estimate(z, mean, std, y, logits):
        q = drawn(z=(Normal(mean, std), z), y=(uw.Concrete(logits, 0.66), y.softmax(-1)))
        blocks = [(("z", (0, 1)), ("y", (0,))), (("z", (1,)),), (("y", (0,)),)]
        return pairs.log_mixture_fused(
            q, q, blocks, logs(uw.stratified(4, 9)), 0, ahead=ahead, body=body
        )

    shapes = [
        torch.randn(4, 2),
        torch.randn(4, 2),
        torch.rand(4, 2) + 0.5,
        torch.randn(4, 3),
        torch.randn(4, 3),
    ]
    assert torch.autograd.gradcheck(estimate, [t.requires_grad_() for t in shapes])


def primitive(z, mean, std, bases, blocks, keep):
    pair = Normal(mean, std).log_prob(z[:, None])
    pair = pair if keep is None else torch.where(keep[:, None], pair, 0.0)
    return torch.stack(
        [(bases[b] + pair[..., list(of)].sum(-1)).logsumexp(-1) for b, of in blocks], -1
    )


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 1, 2), (1, 5, 1), (4, 6, 3), (7, 300, 5), (70, 40, 9), (2, 9, 0)]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_primitive_on_random_blocks(body, shape, seed):
    """Blocks that overlap, repeat, nest, are empty, or none at all; bases that weigh nothing here
    and there.
    """
    rows, comps, units = shape
    torch.manual_seed(seed)
    rng = random.Random(seed)
    z, mean, std = (
        torch.randn(rows, units),
        torch.randn(comps, units),
        torch.rand(comps, units) + 0.2,
    )
    bases = [torch.randn(rows, comps) for _ in range(3)]
    bases[1][torch.rand(rows, comps) < 0.3] = -math.inf
    bases[1][:, 0] = 0.0
    bases[2] = bases[2][:1].expand(rows, comps)
    blocks = [
        (rng.randrange(3), tuple(sorted(rng.sample(range(units), rng.randint(0, units)))))
        for _ in range(9)
    ]
    blocks += [(0, (u,)) for u in range(units)] + [(1, (units - 1,))] * (units > 0)
    keep = torch.rand(rows, units) < 0.7 if seed else None
    leaves = [t.requires_grad_() for t in (z, mean, std, *bases[:2], bases[2])]
    coef = torch.randn(rows, len(blocks))
    slow = primitive(z, mean, std, bases, blocks, keep)
    expected = torch.autograd.grad((coef * slow).sum(), leaves, allow_unused=True)
    with torch.no_grad():
        (values,) = sweep.value_and_grad(z, mean, std, bases, blocks, keep=keep, body=body)
        log_q, dz, dmean, dstd, dbases = sweep.value_and_grad(
            z, mean, std, bases, blocks, coef, keep=keep, body=body
        )
    same(values, slow)
    same(log_q, slow)
    for x, y in zip((dz, dmean, dstd, *dbases), expected, strict=True):
        same(x, torch.zeros_like(x) if y is None else y)


def test_no_blocks_at_all(body):
    z, mean = torch.randn(3, 2), torch.randn(4, 2)
    bases, coef = [torch.zeros(3, 4)], torch.zeros(3, 0)
    log_q, *gradients, (dbase,) = sweep.value_and_grad(
        z, mean, mean.exp(), bases, [], coef, body=body
    )
    assert log_q.shape == (3, 0)
    assert not any(bool(t.any()) for t in (*gradients, dbase))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_far_from_everything_stay_finite(body, dtype):
    """Densities that underflow by far, and a row that no component weighs: −inf, and no
    gradient.
    """
    z = torch.tensor([[0.0], [1e6], [-3e4], [0.5]], dtype=dtype)
    mean, std = (
        torch.tensor([[0.0], [1.0]], dtype=dtype),
        torch.tensor([[1e-3], [1.0]], dtype=dtype),
    )
    base = torch.zeros(4, 2, dtype=dtype)
    base[3] = -math.inf
    log_q, dz, dmean, dstd, (dbase,) = sweep.value_and_grad(
        z, mean, std, [base], [(0, (0,)), (0, ())], torch.ones(4, 2, dtype=dtype), body=body
    )
    expected = primitive(z[:3], mean, std, [base[:3]], [(0, (0,)), (0, ())], None)
    torch.testing.assert_close(log_q[:3], expected)
    assert (log_q[3] == -math.inf).all()
    assert dz[3] == 0
    assert all(bool(t.isfinite().all()) for t in (dz, dmean, dstd, dbase))


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("units", [10, 50])
def test_float32_is_as_accurate_as_the_goal(body, scale, units):
    """Against float64 on the same numbers: 1e-4 in every log marginal, 1e-6 of the gradients'
    length.
    """
    batch, subsets = (
        200,
        [
            tuple(range(units)),
            *((u, u + 1) for u in range(0, units, 2)),
            *((u,) for u in range(units)),
        ],
    )
    mean = torch.randn(batch, units, dtype=torch.float32)
    std = scale * (0.8 + 0.4 * torch.rand(batch, units, dtype=torch.float32))
    z = mean + std * torch.randn(batch, units, dtype=torch.float32)
    found = []
    for t in (torch.float32, torch.float64):
        leaf = [x.detach().to(t).requires_grad_() for x in (z, mean, std)]
        q = drawn(z=(Normal(leaf[1], leaf[2]), leaf[0]))
        log_q = pairs.log_mixture_fused(
            q, q, [(("z", of),) for of in subsets], logs(uw.balanced(batch, 50_000)), 0, body=body
        )
        coef = torch.ones(len(subsets), dtype=t)
        coef[0] = -3
        found.append(
            (log_q.detach(), torch.autograd.grad(torch.tensordot(coef, log_q, 1).mean(), leaf))
        )
    (single, ours), (double, truth) = found
    assert single.dtype == torch.float32
    assert (single - double).abs().max() <= 1e-4
    for x, y in zip(ours, truth, strict=True):
        assert (x - y).norm() <= 1e-6 * y.norm()


@pytest.mark.parametrize(("batch", "units"), [(300, 40), (1000, 10)])
def test_chunks_keep_to_the_budget(body, batch, units, monkeypatch):
    """No tensor of a chunk is larger than the budget, though all pairs would be many times that."""
    budget, seen = 2**18, []

    class Watched(body):
        def __call__(self, z, keep, bases, coef, wanted):
            seen.append(len(z))
            assert all(len(b) * batch * b.element_size() <= budget for b in bases)
            if self.row_bytes:
                assert self.row_bytes * len(z) <= budget
            return super().__call__(z, keep, bases, coef, wanted)

    monkeypatch.setitem(plans.BUDGET, "cpu", budget)
    q, leaf = leaves_of(normals(batch, units))
    log_q = pairs.log_mixture_fused(
        q,
        q,
        [(("z", (u,)),) for u in range(units)],
        (-1.0,) * 3,
        0,
        ahead=[1.0] * units,
        body=Watched,
    )
    gradient(log_q, [1.0] * units, leaf)
    assert sum(seen) == batch
    assert len(seen) > 1


def test_the_gradient_comes_with_the_values(body):
    """One sweep where coefficients are known ahead, another one only if they were wrong."""
    sweeps = []

    class Counted(body):
        def __call__(self, z, keep, bases, coef, wanted):
            sweeps.append(coef is not None)
            return super().__call__(z, keep, bases, coef, wanted)

    q, leaf = leaves_of(normals(6))
    blocks, log_w = [(("z", (0, 1)),), (("z", (1,)),)], logs(uw.balanced(6, 30))
    for ahead, expected in (
        ([1.0, -2.0], [True]),
        ([1.0, 2.0], [True, True]),
        (None, [False, True]),
    ):
        sweeps.clear()
        log_q = pairs.log_mixture_fused(q, q, blocks, log_w, 0, ahead=ahead, body=Counted)
        gradient(log_q, [torch.tensor(-0.25), torch.tensor(0.5)], leaf)
        assert sweeps == expected


def test_a_tree_is_added_up_level_by_level():
    """The joint of three groups is three sums, not ten."""
    blocks = (
        (0, tuple(range(10))),
        (0, (0, 1)),
        (0, (2, 3, 4)),
        (0, (5, 6, 7, 8, 9)),
        *((0, (u,)) for u in range(10)),
    )
    made = plans.plan(blocks, 10)
    joint = made.slots.index(0)
    assert [(len(parts), runs) for slot, parts, runs in made.sums if slot == joint] == [(3, [])]
    assert all(len(above) == 1 for above in made.above)
