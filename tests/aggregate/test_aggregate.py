import itertools
import math

import pytest
import torch
from support.programs import (
    balanced_row,
    covariances,
    decode,
    drawn,
    each_item,
    encode,
    float64,  # noqa: F401
    log_marginal,
    log_q_block,
    reused,
    same,
)
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

import unweave as uw
from unweave.trace.leaves import block

BLOCKS = ["z", "z[1]", "w[:, 0]", "w[1, 1]", "y", "u", "u[0]", "s", "s[1]"]


def blocks_of(q, leaves=BLOCKS):
    shapes = {"z": (3,), "w": (2, 2), "y": (), "u": (2,), "s": (2,)}
    return [block(leaf, shapes) for leaf in leaves] + [
        tuple(b for leaf in ("z[:2]", "y", "u") for b in block(leaf, shapes))
    ]


def take(q, items):
    """The trace of some of the items, with the values that they had."""
    parts = {}
    for name, node in q.items():
        d, items = node.dist, list(items)
        part = (
            Normal(d.loc[items], d.scale[items])
            if isinstance(d, Normal)
            else MultivariateNormal(d.loc[items], d.covariance_matrix[items])
            if isinstance(d, MultivariateNormal)
            else uw.Concrete(d.logits[items], d.temperature)
        )
        parts[name] = (part, node.value[items])
    return drawn(**parts)


def normals(n, units=2):
    q = uw.Trace()
    q.normal(torch.randn(n, units), torch.rand(n, units) + 0.2, name="z")
    return q


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [uw.balanced, uw.stratified, uw.weighted])
@pytest.mark.parametrize(("batch", "n"), [(2, 9), (5, 9), (9, 9)])
def test_weights_stand_where_the_formula_puts_them(weights, batch, n):
    """Far apart, narrow posteriors, and values moved by k places, show the weight of component i +
    k alone.
    """
    loc = 1e3 * torch.arange(batch, dtype=torch.float64)[:, None]
    own, following, rest = {
        uw.balanced: (1 / n, (n - 1) / (n * (batch - 1)), (n - 1) / (n * (batch - 1))),
        uw.stratified: (1 / n, (n - batch + 1) / (n * (batch - 1)), 1 / (batch - 1)),
        uw.weighted: (1 / (n * batch),) * 3,
    }[weights]
    for k in range(batch):
        q = drawn(z=(Normal(loc, 1.0), loc.roll(-k, 0)))
        (log_q,) = uw.minibatch(n, weights)(q, [(("z", (0,)),)], 0)
        w = own if k == 0 else following if k == 1 else rest
        same(log_q, torch.full((batch,), math.log(w) - 0.5 * math.log(2 * math.pi)))


@pytest.mark.parametrize("weights", [uw.balanced, uw.stratified])
@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_estimates_average_to_q_over_all_batches(weights, batch):
    """Every ordered batch of 5 items: at every place the mean of the estimate is q(z), for joint
    and marginals.
    """
    n, q = 5, uw.Trace()
    q.normal(torch.randn(n, 2), torch.rand(n, 2) + 0.2, name="z")
    q.concrete(torch.randn(n, 3), 0.66, name="y")
    blocks = [(("z", (0, 1)),), (("z", (1,)),), (("y", (0,)),), (("z", (0,)), ("y", (0,)))]
    sums, counts = torch.zeros(len(blocks), n, batch), torch.zeros(n, batch)
    for items in itertools.permutations(range(n), batch):
        estimate = torch.stack(uw.minibatch(n, weights)(take(q, items), blocks, 0)).exp()
        for place, item in enumerate(items):
            sums[:, item, place] += estimate[:, place]
            counts[item, place] += 1
    truth = torch.stack(uw.exact(q)(q, blocks, 0)).exp()
    torch.testing.assert_close(sums / counts, truth[..., None].expand_as(sums), rtol=1e-12, atol=0)


@pytest.mark.parametrize("batch", [2, 4, 6])
def test_weighted_estimates_q_over_n_only_about(batch):
    """Its mean over batches is ((N−B)/(B(N−1)) q(z|x) + (B−1)N/(B(N−1)) q(z)) / N."""
    n, q, b = 6, normals(6), (("z", (0, 1)),)
    total, count = torch.zeros(n), 0
    for items in itertools.combinations(range(n), batch):
        (log_q,) = uw.minibatch(n, uw.weighted)(take(q, items), [b], 0)
        total[list(items)] += log_q.exp()
        count += 1
    mean = total / (count * batch / n)
    own, all_ = q["z"].log_prob.sum(-1).exp(), uw.exact(q)(q, [b], 0)[0].exp()
    same(mean, ((n - batch) * own + (batch - 1) * n * all_) / (batch * (n - 1)) / n)


def test_weighted_shifts_total_correlation_by_its_stated_constant():
    """(D−1)·log N, where posteriors are the same for all items."""
    n, d = 50, 4
    q = drawn(z=(Normal(torch.zeros(5, d), 1.0), torch.randn(5, d)))
    p = reused(q, z=Normal(0.0, 1.0))
    tc = uw.Densities(q, p, aggregate=uw.minibatch(n, uw.weighted)).score(uw.tc[:])
    same(tc, torch.full((5,), (d - 1) * math.log(n)))


@pytest.mark.parametrize(("batch", "n"), [(1, 5), (6, 5)])
def test_a_batch_that_is_no_sample_without_replacement_is_refused(batch, n):
    q = normals(batch)
    with pytest.raises(
        ValueError, match=rf"minibatch\(n={n}\) got a batch of {batch}: expected 2 to {n} items"
    ):
        uw.minibatch(n)(q, [(("z", (0,)),)], 0)


def test_one_item_in_all_is_its_own_aggregate():
    q = normals(1)
    for weights in (uw.balanced, uw.stratified):
        same(uw.minibatch(1, weights)(q, [(("z", (0, 1)),)], 0)[0], q["z"].log_prob.sum(-1))


# -- exact, and the brute-force loop ---------------------------------------------------------------


@pytest.mark.parametrize("lead", [(4,), (2, 4), (4, 4), (2, 1, 3)])
@pytest.mark.parametrize("n", [None, 30])
def test_aggregates_agree_with_a_double_loop(lead, n):
    q, batch = encode(lead), lead[-1]
    aggregate = uw.minibatch(n) if n else uw.exact(q)
    blocks = blocks_of(q)
    for b, log_q in zip(blocks, aggregate(q, blocks, len(lead) - 1), strict=True):

        def loop(index, b=b):
            weights = balanced_row(batch, n, index[-1]) if n else [1 / batch] * batch
            return log_q_block(q, q, weights, b, index)

        same(log_q, each_item(lead, loop))


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_a_batch_as_large_as_the_data_set_is_exact(lead):
    q, axis = encode(lead), len(lead) - 1
    for one, all_ in zip(
        uw.minibatch(5)(q, blocks_of(q), axis), uw.exact(q)(q, blocks_of(q), axis), strict=True
    ):
        same(one, all_)


@pytest.mark.parametrize("lead", [(2,), (3, 2), (4, 3, 2), (1, 1)])
@pytest.mark.parametrize("units", [1, 2, 3])
def test_exact_takes_a_posterior_without_samples(lead, units):
    """The number of items is read off the posterior's own batch dimension, whatever equals
    whatever.
    """
    posterior, z = normals(4, units), torch.randn(*lead, units)
    q = drawn(z=(Normal(torch.zeros(units), 1.0).expand(z.shape), z))
    b = (("z", tuple(range(units))),)
    same(
        uw.exact(posterior)(q, [b], len(lead) - 1)[0],
        each_item(lead, lambda index: log_q_block(q, posterior, [1 / 4] * 4, b, index)),
    )


CLASSES = {"y": 3, "c": 2}


def enumerated(h, m, labels):
    """Classes y, then z and u given y, then classes c given z, and a w that depends on neither."""
    q = uw.Trace()
    y = q.categorical(h @ m["y"], value=labels, name="y")
    z = q.normal(h @ m["z"] + y @ m["z|y"], 0.6, name="z")
    loc = h @ m["u"] + y @ m["u|y"]
    q.sample(MultivariateNormal(loc, m["cov"].expand(*loc.shape, 2)), name="u")
    q.categorical(z @ m["c|z"], name="c")
    q.normal(h @ m["w"], 0.8, name="w")
    return q


def log_q_enumerated(row, posterior, labels, block):
    """log 1/N Σ_n Σ_k q(k|x_n) Π q(site|x_n, k) over the classes k that the row's agree with.

    `row` holds the values of the block's sites that are latent for one item, classes as numbers.
    """
    n, total = len(posterior["w"].value), torch.zeros(())
    z, u, w = (posterior[site].dist for site in "zuw")
    log_y = posterior["y"].dist.logits  # (items, classes of y)
    log_c = posterior["c"].dist.logits  # (classes of y, items, classes of c)
    for j, a, c in itertools.product(range(n), range(CLASSES["y"]), range(CLASSES["c"])):
        if row.get("y", a) != a or row.get("c", c) != c:
            continue
        log_each = log_y[j, a]
        if "y" not in row and labels[j] >= 0:
            log_each = torch.tensor(0.0 if labels[j] == a else -math.inf)
        log_each = log_each + log_c[a, j, c]
        for site, units in block:
            if site == "z":
                part = Normal(z.loc[a, j], z.scale[a, j], validate_args=False)
            elif site == "u":
                root = u.scale_tril[a, j]
                part = MultivariateNormal(u.loc[a, j], scale_tril=root, validate_args=False)
            elif site == "w":
                part = Normal(w.loc[j], w.scale[j], validate_args=False)
            else:
                continue
            log_each = log_each + log_marginal(part, row[site], units)
        total = total + log_each.exp() / n
    return total.log()


def entry(t, index):
    """The entry of a tensor that may have dimensions of size one for the index's."""
    return t[tuple(k if size > 1 else 0 for k, size in zip(index, t.shape, strict=False))]


@pytest.mark.parametrize("lead", [(2, 4), (2, 1, 4)])
@pytest.mark.parametrize("draws", [False, True], ids=["all classes", "drawn"])
def test_enumerated_posteriors_without_samples_meet_rows_with_samples(lead, draws):
    shapes = {"y": (2, 3), "z": (2, 2), "z|y": (3, 2), "u": (2, 2), "u|y": (3, 2), "c|z": (2, 2)}
    m = {name: torch.randn(shape) for name, shape in shapes.items()}
    m |= {"cov": covariances(2), "w": torch.randn(2, 1)}
    h, labels = torch.randn(4, 2), torch.tensor([2, -1, 0, -1])
    posterior = enumerated(h, m, labels)
    q = enumerated(h.expand(*lead, 2), m, labels.expand(lead))
    q = q.draw() if draws else q.aligned()
    whole = {"y": (0,), "z": (0, 1), "u": (0, 1), "c": (0,), "w": (0,)}
    sites = ["y", "z", "c", "zu", "yu", "cz", "cw", "yzucw"]
    blocks = [tuple((site, whole[site]) for site in some) for some in sites]
    blocks += [(("z", (1,)),), (("y", (0,)), ("u", (0,)))]
    depth = len(q.classes())
    for b, log_q in zip(blocks, uw.exact(posterior)(q, blocks, depth + len(lead) - 1), strict=True):
        held = torch.broadcast_shapes(*(q[site].value.shape[:depth] for site, _ in b))
        for index in itertools.product(*map(range, (*held, *lead))):
            row = {site: entry(q[site].value, index) for site, _ in b}
            row |= {site: int(row[site].argmax()) for site in CLASSES.keys() & row.keys()}
            if labels[index[-1]] >= 0:
                row.pop("y", None)
            same(entry(log_q, index), log_q_enumerated(row, posterior, labels, b))


@pytest.mark.parametrize("budget", [1, 100, 2**24])
@pytest.mark.parametrize("lead", [(7,), (2, 7)])
def test_exact_in_parts_is_exact_at_once(budget, lead):
    q, axis = encode(lead), len(lead) - 1
    parts = uw.exact(q, budget=budget)(q, blocks_of(q), axis)
    for part, whole in zip(parts, uw.exact(q)(q, blocks_of(q), axis), strict=True):
        same(part, whole)


def test_exact_scores_any_part_of_the_data():
    posterior = normals(9)
    whole = uw.exact(posterior)(posterior, [(("z", (0, 1)),)], 0)[0]
    same(uw.exact(posterior)(take(posterior, [2, 7]), [(("z", (0, 1)),)], 0)[0], whole[[2, 7]])


# -- closed forms ----------------------------------------------------------------------------------


def test_exact_is_the_mixture_density_of_torch():
    q = normals(8, 3)
    loc, scale, z = q["z"].dist.loc, q["z"].dist.scale, q["z"].value
    log_q = uw.exact(q)(q, [(("z", (0, 1, 2)),), (("z", (0, 2)),), (("z", (1,)),)], 0)
    for units, value in zip(([0, 1, 2], [0, 2], [1]), log_q, strict=True):
        parts = Independent(Normal(loc[:, units], scale[:, units]), 1)
        same(value, MixtureSameFamily(Categorical(torch.ones(8)), parts).log_prob(z[:, units]))


def test_exact_marginals_of_multivariate_normals_are_those_of_their_covariance():
    loc, cov = torch.randn(6, 3), covariances(6, 3)
    q = drawn(z=(MultivariateNormal(loc, cov), torch.randn(6, 3)))
    for units in ([0], [2], [0, 2], [0, 1, 2]):
        (log_q,) = uw.exact(q)(q, [(("z", tuple(units)),)], 0)
        part = MultivariateNormal(loc[:, units], cov[:, units][:, :, units])
        same(
            log_q,
            MixtureSameFamily(Categorical(torch.ones(6)), part).log_prob(q["z"].value[:, units]),
        )


def sigma_points(loc, cov):
    """2D points whose mean gives the expectation of any quadratic under a normal exactly."""
    root = torch.linalg.cholesky(cov) * math.sqrt(len(loc))
    return torch.cat([loc + root.mT, loc - root.mT])


def test_identical_posteriors_have_closed_forms():
    """mi = 0 for each item; TC of a normal = −½ log det of its correlation, less the prior's; KLs
    of normals.
    """
    loc, cov, prior = torch.randn(4), covariances(4), covariances(4)
    posterior = drawn(
        z=(MultivariateNormal(loc.expand(3, 4), cov.expand(3, 4, 4)), torch.zeros(3, 4))
    )
    z = sigma_points(loc, cov)
    q = drawn(z=(MultivariateNormal(loc.expand(8, 4), cov.expand(8, 4, 4)), z))
    d = uw.Densities(
        q, reused(q, z=Normal(0.0, 1.0)), groups=("z[:2]", "z[2:]"), aggregate=uw.exact(posterior)
    )
    r = cov / (cov.diag().sqrt()[:, None] * cov.diag().sqrt())
    pairs = torch.block_diag(r[:2, :2], r[2:, 2:])
    same(d.score(uw.mi), torch.zeros(8))
    same(d.score(uw.tc[:]).mean(), -0.5 * torch.logdet(r))
    same(d.score(uw.tc[0]).mean(), -0.5 * (torch.logdet(r) - torch.logdet(pairs)))
    same(d.score(uw.tc[1]).mean(), -0.5 * torch.logdet(pairs))
    same(d.score(uw.kl[-1]).mean(), 0.5 * (cov.diag() + loc**2 - 1 - cov.diag().log()).sum())

    normal = MultivariateNormal(torch.zeros(4), prior)
    d = uw.Densities(q, reused(q, z=normal), aggregate=uw.exact(posterior))
    same(
        d.score(uw.kl[0]).mean(),
        torch.distributions.kl_divergence(MultivariateNormal(loc, cov), normal),
    )
    v = prior.diag()
    units = 0.5 * (cov.diag() / v + loc**2 / v - 1 - (cov.diag() / v).log())
    same(d.score(uw.kl[-1]).mean(), units.sum())


@pytest.mark.parametrize("gap", [0.0, 0.3, 2.0, 1e3])
def test_information_lies_between_zero_and_log_n(gap):
    """Over the data set, by quadrature; each sample's value stays below log N; both ends are
    reached.
    """
    n, loc = 4, gap * torch.arange(4.0)
    width, points = 10.0, 2001
    grid = loc[:, None] + torch.linspace(-width, width, points)  # each item's own grid
    posterior = drawn(z=(Normal(loc[:, None], 1.0), loc[:, None]))
    q = drawn(z=(Normal(loc.expand(points, n)[..., None], 1.0), grid.T[..., None]))
    d = uw.Densities(q, reused(q, z=Normal(0.0, 1.0)), aggregate=uw.exact(posterior), batch_dim=1)
    mi = d.score(uw.mi)
    weight = q["z"].log_prob[..., 0].exp() * (2 * width / (points - 1))
    information = (weight * mi).sum(0).mean()
    assert mi.max() <= math.log(n) + 1e-10
    assert -1e-10 <= information <= math.log(n) + 1e-10
    if gap in (0.0, 1e3):
        same(information, 0.0 if gap == 0 else math.log(n))


def test_batches_overestimate_information_and_may_give_negative_correlations():
    """The bias that the docstring states (N ≫ B), far beyond the noise of 2,000 items."""
    n, batch = 2_000, 50
    mean = torch.randn(n, 6) * 0.75**0.5
    q = uw.Trace()
    q.normal(mean, 0.5, name="z")
    p = decode_standard(q)
    exact = uw.Densities(q, p, aggregate=uw.exact(q))
    batches = [take(q, range(i, i + batch)) for i in range(0, n, batch)]
    rough = [uw.Densities(b, decode_standard(b), aggregate=uw.minibatch(n)) for b in batches]
    mi, tc = (torch.cat([d.score(t) for d in rough]).mean() for t in (uw.mi, uw.tc[:]))
    assert mi > exact.score(uw.mi).mean() + 0.3
    assert tc < 0 < exact.score(uw.tc[:]).mean()


def decode_standard(q):
    p = uw.Trace()
    p.normal(0.0, 1.0, value=q["z"], name="z")
    return p


def test_a_prior_is_never_evaluated_pairwise():
    """Its distributions see values of shape (batch, classes) only."""
    q = encode((6,))
    p, shapes = decode(q), []
    log_prob = p["y"].dist.log_prob
    p["y"].dist.log_prob = lambda value: shapes.append(value.shape) or log_prob(value)
    uw.Densities(q, p, aggregate=uw.minibatch(60)).score(uw.hfvae(1, 3, 2))
    assert shapes
    assert set(shapes) == {(6, 3)}


def test_aggregates_print_what_they_are():
    assert repr(uw.minibatch(9)) == "minibatch(n=9, weights=balanced)"
    assert repr(uw.minibatch(9, uw.stratified)) == "minibatch(n=9, weights=stratified)"
    assert repr(uw.exact(normals(3))) == "exact"
