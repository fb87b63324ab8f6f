"""Switching regressions against enumeration of their paths, closed forms and known states."""

import itertools

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import MultivariateNormal

from unweave.metrics import ari
from unweave.models.switching import (
    PRIOR,
    Law,
    Statistics,
    Steps,
    climb,
    drawn_start,
    expected,
    fit,
    lagged,
    merge_costs,
    prior_noise,
)


def a_law(states=3, outputs=2, inputs=4):
    root = torch.eye(outputs) * 0.5 + 0.1 * torch.randn(states, outputs, outputs).tril(-1)
    return Law(
        torch.randn(states, outputs, inputs),
        root,
        torch.randn(states).log_softmax(-1),
        torch.randn(states, states).log_softmax(-1),
    )


def some_steps(n=3, steps=4, outputs=2, inputs=4):
    there = torch.ones(n, steps, dtype=torch.bool)
    there[1, 2:] = False
    return Steps(torch.randn(n, steps, inputs), torch.randn(n, steps, outputs), there)


def every_path(law, steps, i):
    """Every path of states of one item with its log p(path, y), by the densities' definition."""
    length = int(steps.there[i].sum())
    states = len(law.log_initial)
    for path in itertools.product(range(states), repeat=length):
        log_p = law.log_initial[path[0]]
        for before, after in itertools.pairwise(path):
            log_p = log_p + law.log_transition[before, after]
        for t, k in enumerate(path):
            mean = law.weights[k] @ steps.inputs[i, t]
            normal = MultivariateNormal(mean, scale_tril=law.root[k])
            log_p = log_p + normal.log_prob(steps.outputs[i, t])
        yield path, log_p


def test_the_likelihood_is_the_sum_over_paths_of_states():
    law, steps = a_law(), some_steps()
    evidence, _ = law.messages(steps)
    for i in range(3):
        log_p = torch.stack([log_p for _, log_p in every_path(law, steps, i)])
        same(evidence[i], log_p.logsumexp(0))


def test_the_e_step_is_the_expectation_over_paths():
    """Weighted sums and pairs of states; padded steps add to pairs alone, as the chain goes on."""
    law, steps = a_law(), some_steps()
    steps = steps.of(slice(0, 1))
    sums, nats = expected(law, steps)
    paths, log_p = zip(*every_path(law, steps, 0), strict=True)
    log_p = torch.stack(log_p)
    same(torch.tensor(nats), log_p.logsumexp(0) / 4)
    pairs, counts, yu = torch.zeros(3, 3), torch.zeros(3), torch.zeros(3, 2, 4)
    for path, p in zip(paths, log_p.softmax(0), strict=True):
        for before, after in itertools.pairwise(path):
            pairs[before, after] += p
        for t, k in enumerate(path):
            counts[k] += p
            yu[k] += p * torch.outer(steps.outputs[0, t], steps.inputs[0, t])
    same(sums.pairs, pairs)
    same(sums.steps, counts)
    same(sums.yu, yu)


def test_the_m_step_is_at_the_top_of_its_bound():
    """There the gradient of Σ p(s) log p(y, s), the prior of the noise and the ridge is 0."""
    steps = some_steps(n=40)
    weights = torch.rand(40, 4, 3).softmax(-1) * steps.there.unsqueeze(-1)
    sums = Statistics.sums(steps, weights, torch.rand(3, 3))
    noise = prior_noise(steps)
    law = sums.law(noise)
    w, root = law.weights.requires_grad_(), law.root.requires_grad_()
    scores = law.scores(steps.inputs, steps.outputs)
    precision = torch.cholesky_inverse(root)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    of_noise = (precision.diagonal(dim1=-2, dim2=-1) * noise).sum(-1)
    prior = -0.5 * PRIOR * (log_det + of_noise)
    ridge = -0.5e-3 * torch.einsum("kof,kop,kpf->k", w, precision, w)
    bound = (weights * scores).sum() + prior.sum() + ridge.sum()
    of_w, of_root = torch.autograd.grad(bound, [w, root])
    assert of_w.abs().max() < 1e-8
    assert of_root.tril().abs().max() < 1e-8


def test_merged_sums_are_those_of_states_that_were_one():
    steps, pairs = some_steps(), torch.rand(3, 3)
    weights = torch.rand(3, 4, 3).softmax(-1) * steps.there.unsqueeze(-1)
    merged = Statistics.sums(steps, weights, pairs).merged(0, 2)
    together = torch.stack([weights[..., 0] + weights[..., 2], weights[..., 1]], -1)
    of_rows = torch.stack([pairs[0] + pairs[2], pairs[1]])
    of_pairs = torch.stack([of_rows[:, 0] + of_rows[:, 2], of_rows[:, 1]], 1)
    whole = Statistics.sums(steps, together, of_pairs)
    for name in ("uu", "yu", "yy", "steps", "first", "pairs"):
        same(getattr(merged, name), getattr(whole, name))


def turning(n=60, length=30, seed=0):
    """Points that turn left, turn right or come to rest, and which of these each step does."""
    generator = torch.Generator().manual_seed(seed)
    law = [torch.tensor([[c, -s], [s, c]]) for c, s in ((0.95, 0.3), (0.95, -0.3), (0.7, 0.0))]
    states = torch.randint(3, (n,), generator=generator)
    z = torch.randn(n, 2, generator=generator)
    path, found = [z], []
    for _ in range(length - 1):
        other = torch.randint(3, (n,), generator=generator)
        states = torch.where(torch.rand(n, generator=generator) < 0.1, other, states)
        moved = (torch.stack(law)[states] @ z.unsqueeze(-1)).squeeze(-1)
        z = moved + 0.05 * torch.randn(n, 2, generator=generator)
        path.append(z)
        found.append(states)
    path = torch.stack(path, 1)
    there = torch.ones(n, length - 1, dtype=torch.bool)
    return Steps(lagged(path, 1), path[:, 1:], there), torch.stack(found, 1)


def test_em_climbs_and_finds_what_the_true_states_lead_to():
    """EM lowers the likelihood by no more than its weak prior; of four starts the best is as good
    on other paths as a start at the true states, and names the same states.
    """
    (steps, states), (held, _) = turning(), turning(seed=1)
    start = drawn_start(steps, 3, seed=1)
    nats = [climb(steps, start, rounds=rounds).log_prob(steps) for rounds in (0, 1, 3, 10, 30)]
    assert all(after > before - 1e-3 for before, after in itertools.pairwise(nats))
    found = fit(steps, held, 3, seeds=range(4))
    assert found[0].held_out == max(each.held_out for each in found)
    told = climb(steps, torch.nn.functional.one_hot(states, 3).double())
    assert found[0].held_out > told.log_prob(held) - 1e-3
    one, other = (
        law.messages(held)[1].argmax(-1).flatten().numpy() for law in (found[0].law, told)
    )
    assert ari(one, other) > 0.95


def test_the_cheapest_merger_is_of_states_that_are_one():
    """Of four states for three motions two are nearly the same: their merger costs least by far."""
    steps, _ = turning()
    found = fit(steps, steps, 3, seeds=range(4))[0].law
    doubled = Law(
        torch.cat([found.weights, found.weights[:1]]),
        torch.cat([found.root, found.root[:1]]),
        torch.cat([found.log_initial, found.log_initial[:1]]),
        torch.zeros(4, 4).log_softmax(-1),
    )
    costs = merge_costs(doubled, steps)
    assert costs[0, 3] == costs.nan_to_num(nan=1e9).min()
    assert costs[0, 3] < 0.02
    others = costs[torch.triu(torch.ones(4, 4), 1).bool()].sort().values
    assert others[1] > 5 * others[0].abs()


def test_stickiness_makes_states_last():
    steps, _ = turning()
    start = drawn_start(steps, 3, seed=1)
    stays = [
        climb(steps, start, stickiness=sticky).log_transition.exp().diagonal().mean()
        for sticky in (0.0, 1e3)
    ]
    assert stays[1] > stays[0] + 0.02


@pytest.mark.parametrize("lags", [1, 3])
def test_lagged_frames_are_those_before(lags):
    path = torch.randn(2, 5, 3)
    inputs = lagged(path, lags)
    for t, lag in itertools.product(range(1, 5), range(1, lags + 1)):
        before = inputs[:, t - 1, 1 + 3 * (lag - 1) : 1 + 3 * lag]
        assert torch.equal(before, path[:, max(t - lag, 0)])
