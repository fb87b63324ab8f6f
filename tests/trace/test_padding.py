"""Entries that do not exist: padded items score as unpadded ones, q(z) is of those that exist."""

import math
from dataclasses import replace

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import Normal

import unweave as uw

STEPS, D = 3, 2
LENGTHS = torch.tensor([3, 1, 2, 3, 2, 1])
FORMS = {
    "elbo": uw.elbo,
    "hfvae": uw.hfvae(alpha=0.5, beta=2, gamma=3),
    "mi": uw.mi,
    "tc[0]": uw.tc[0],
    "kl[-1]": uw.kl[-1],
    "kl of a step": uw.kl[0].of("z_1"),
}


def inputs(lengths=LENGTHS):
    n = len(lengths)
    return {
        "loc": torch.randn(n, STEPS, D),
        "scale": torch.rand(n, STEPS, D) + 0.4,
        "noise": torch.randn(n, STEPS, D),
        "x": torch.randn(n, STEPS, 4),
    }


def encode(a, lengths, steps):
    """One site a step, which some items lack; steps = 1, 2, … leaves the padding out."""
    q = uw.Trace()
    for t in range(steps):
        where = None if lengths is None else t < lengths
        q.normal(a["loc"][:, t], a["scale"][:, t], name=f"z_{t}", where=where)
    for t in range(steps):  # the same draw however long the padding is
        drawn = a["loc"][:, t] + a["scale"][:, t] * a["noise"][:, t]
        q._nodes[f"z_{t}"] = replace(q[f"z_{t}"], value=drawn)
    return q


def decode(a, q, lengths, steps):
    p, before = uw.Trace(), torch.zeros(())
    for t in range(steps):
        before = p.normal(0.7 * before, 1.3, value=q[f"z_{t}"], name=f"z_{t}")
        mask = None if lengths is None else t < lengths
        p.normal(before.repeat(1, 2), 0.5, value=a["x"][:, t], observed=mask, name=f"x_{t}")
    return p


def test_a_padded_item_scores_as_an_unpadded_one():
    a = inputs()
    padded = uw.elbo(q := encode(a, LENGTHS, STEPS), decode(a, q, LENGTHS, STEPS))
    for i, length in enumerate(LENGTHS.tolist()):
        one = {name: t[i : i + 1] for name, t in a.items()}
        alone = uw.elbo(q := encode(one, None, length), decode(one, q, None, length))
        same(padded[i], alone[0])


@pytest.mark.parametrize("kl", ["closed", "sampled"])
def test_closed_and_sampled_densities_leave_the_same_entries_out(kl):
    a = inputs()
    padded = uw.elbo(q := encode(a, LENGTHS, STEPS), decode(a, q, LENGTHS, STEPS), kl=kl)
    for i, length in enumerate(LENGTHS.tolist()):
        one = {name: t[i : i + 1] for name, t in a.items()}
        same(
            padded[i],
            uw.elbo(q := encode(one, None, length), decode(one, q, None, length), kl=kl)[0],
        )


BLOCKS = [
    (("z_0", (0, 1)), ("z_1", (0, 1)), ("z_2", (0, 1))),
    (("z_1", (0,)), ("z_2", (1,))),
    (("z_0", (1,)),),
    (("z_2", (0, 1)),),
]


def mixture(rows, a, block, i, lengths, weights):
    """log Σ_S w_j q(block_i|x_j) − log Σ_S w_j Σ_j w_j, one item and unit at a time."""
    own = int(lengths[i])
    have = [(int(site[-1]), units) for site, units in block if int(site[-1]) < own]
    if not have:
        return torch.tensor(sum(weights)).log()
    needed = max(t for t, _ in have) + 1
    total, share = torch.zeros(()), 0.0
    for j, w in enumerate(weights):
        if int(lengths[j]) >= needed:
            log_q = sum(
                Normal(a["loc"][j, t, u], a["scale"][j, t, u]).log_prob(rows[f"z_{t}"].value[i, u])
                for t, units in have
                for u in units
            )
            total, share = total + w * log_q.exp(), share + w
    return total.log() - math.log(share) + math.log(sum(weights))


@pytest.mark.parametrize("weights", [uw.balanced, uw.stratified, uw.weighted])
def test_a_block_is_compared_with_the_items_that_have_what_its_row_has(weights):
    a, n, batch = inputs(), 20, len(LENGTHS)
    q = encode(a, LENGTHS, STEPS)
    log_q = uw.minibatch(n, weights)(q, BLOCKS)
    own, following, other = weights(batch, n)
    for i in range(batch):
        w = [own if j == i else following if j == (i + 1) % batch else other for j in range(batch)]
        for found, block in zip(log_q, BLOCKS, strict=True):
            same(found[i], mixture(q, a, block, i, LENGTHS, w))


def test_exact_over_the_data_set_and_its_gradient():
    a = inputs()
    a["loc"].requires_grad_()
    whole, some = encode(a, LENGTHS, STEPS), torch.tensor([0, 4, 5])
    rows = whole.take(some)
    log_q = torch.stack(uw.exact(whole)(rows, BLOCKS))
    twin = torch.stack(
        [
            torch.stack([mixture(whole, a, b, i, LENGTHS, [1 / 6] * 6) for i in some.tolist()])
            for b in BLOCKS
        ]
    )
    same(log_q, twin)
    c = torch.randn(twin.shape)
    same(
        *(torch.autograd.grad((c * v).sum(), a["loc"], retain_graph=True)[0] for v in (log_q, twin))
    )


def test_samples_in_front_change_nothing():
    a, k = inputs(), 3
    q, lengths = uw.Trace(), LENGTHS.expand(k, -1)
    for t in range(STEPS):
        loc, scale = (a[name][:, t].expand(k, -1, -1) for name in ("loc", "scale"))
        q.normal(loc, scale, name=f"z_{t}", where=t < lengths)
    log_q = uw.minibatch(20)(q, BLOCKS, 1)
    for s in range(k):
        one = uw.Trace()
        for t in range(STEPS):
            one.normal(a["loc"][:, t], a["scale"][:, t], name=f"z_{t}", where=t < LENGTHS)
            one._nodes[f"z_{t}"] = replace(one[f"z_{t}"], value=q[f"z_{t}"].value[s])
        for each, alone in zip(log_q, uw.minibatch(20)(one, BLOCKS), strict=True):
            same(each[s], alone)


def test_where_nothing_has_an_entry_its_density_is_zero():
    a = inputs()
    whole = encode(a, LENGTHS, STEPS)
    short = whole.take(torch.tensor([1, 2, 4, 5]))
    (log_q,) = uw.exact(short)(whole, [(("z_2", (0, 1)),)])
    assert log_q.isneginf().tolist() == [True, False, False, True, False, False]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_terms_of_equal_lengths_are_those_without_padding(form):
    """A batch of one length, padded: whatever is asked of it is what the shorter program says."""
    a, length = inputs(), 2
    lengths = torch.full_like(LENGTHS, length)
    groups = {steps: tuple((f"z_{t}",) for t in range(steps)) for steps in (length, STEPS)}
    values = []
    for steps, mask in ((STEPS, lengths), (length, None)):
        q = encode(a, mask, steps)
        p = decode(a, q, mask, steps)
        values.append(
            form(q, p, groups=groups[steps], aggregate=uw.minibatch(20), prior=draws(steps))
        )
    same(*values)


def draws(steps, n=50):
    """The prior's draws, the same for any number of steps."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        noise = torch.randn(n, STEPS, D)
    p, before = uw.Trace(), torch.zeros(())
    for t in range(steps):
        p.normal(0.7 * before * torch.ones(n, D), 1.3, name=f"z_{t}")
        before = 0.7 * before + 1.3 * noise[:, t]
        p._nodes[f"z_{t}"] = replace(p[f"z_{t}"], value=before)
    return p


def test_a_batch_of_all_items_gives_exact_terms():
    a = inputs()
    q = encode(a, LENGTHS, STEPS)
    same(
        *(
            torch.stack(estimate(q, BLOCKS))
            for estimate in (uw.minibatch(len(LENGTHS)), uw.exact(q))
        )
    )


def test_kl_of_a_step_is_non_negative_over_the_items_that_have_it():
    """Σ over items with z_2 of log q(z_2) − log p(z_2), a KL divergence to 4 standard errors."""
    torch.manual_seed(1)
    n = 40
    lengths = torch.randint(1, STEPS + 1, (n,))
    q, p = uw.Trace(), uw.Trace()
    for t in range(STEPS):
        q.normal(
            torch.randn(n, D).expand(2000, n, D),
            0.5,
            name=f"z_{t}",
            where=(t < lengths).expand(2000, n),
        )
        p.normal(0.0, 1.0, value=q[f"z_{t}"], name=f"z_{t}")
    value = uw.kl[0].of("z_2")(q, p, aggregate=uw.minibatch(n), batch_dim=1)
    assert (value[:, lengths < STEPS] == 0).all()
    assert value.mean() > -4 * value.mean(1).std() / math.sqrt(2000)


# -- a count that is enumerated --------------------------------------------------------------------


def counted(logits, a, value=None):
    """A count of 1 to 3 objects, summed over; object t exists where the count exceeds t."""
    q = uw.Trace()
    count = q.categorical(logits, value=value, name="n")
    number = (count * torch.arange(1, STEPS + 1)).sum(-1)  # (classes, batch)
    for t in range(STEPS):
        where = t < number
        if t == 1:
            q.categorical(a["x"][:, t], name="y_1", where=where)
        q.normal(a["loc"][:, t], a["scale"][:, t], name=f"z_{t}", where=where)
    return q


def of_count(a, q, number):
    """The prior and the data's density, whose mean is the sum of the objects that exist."""
    p = uw.Trace()
    count = p.categorical(torch.zeros(STEPS), value=q["n"], name="n")
    if number > 1:
        p.categorical(torch.zeros(4), value=q["y_1"], name="y_1")
    for t in range(number):
        p.normal(0.0, 1.0, value=q[f"z_{t}"], name=f"z_{t}")
    p.factor((count * a["x"][:, 0, :STEPS]).sum(-1), name="x")
    return p


def test_the_elbo_sums_over_counts_exactly():
    a, n = inputs(), len(LENGTHS)
    logits = torch.randn(n, STEPS)
    q = counted(logits, a)
    total = torch.zeros(n)
    for number in range(1, STEPS + 1):
        w = logits.softmax(-1)[:, number - 1]
        one = uw.Trace()
        one.categorical(logits, value=torch.full((n,), number - 1), name="n")
        for t in range(number):
            if t == 1:
                one.categorical(a["x"][:, t], name="y_1")
            one.normal(a["loc"][:, t], a["scale"][:, t], name=f"z_{t}")
        given = uw.elbo(one, of_count(a, one, number))
        total = total + w * (given - w.log())
    same(uw.elbo(q, of_count(a, q, STEPS)), total)


def test_labelled_counts_and_drawn_counts():
    a, n = inputs(), len(LENGTHS)
    logits = torch.randn(n, STEPS)
    labels = torch.tensor([2, 0, 1, -1, 1, 0])
    q = counted(logits, a, value=labels)
    drawn = q.draw()
    number = drawn["n"].value.argmax(-1) + 1
    assert (number[labels >= 0] == labels[labels >= 0] + 1).all()
    for t in range(STEPS):
        assert (drawn[f"z_{t}"].exists[:, 0] == (t < number)).all()
    assert (drawn["y_1"].exists == (number > 1)).all()


def test_blocks_over_enumerated_counts_by_brute_force():
    a, n = inputs(), len(LENGTHS)
    logits, other = torch.randn(n, STEPS), 1 / len(LENGTHS)
    q = counted(logits, a)
    aligned = q.aligned()
    blocks = [(("z_2", (0, 1)),), (("z_0", (0,)), ("z_1", (1,))), (("y_1", (0,)), ("z_1", (0, 1)))]
    log_q = uw.exact(q)(aligned, blocks, 2)
    weights, classes = logits.softmax(-1), a["x"][:, 1].softmax(-1)

    def density(t, units, j, i):
        at = Normal(a["loc"][j, t], a["scale"][j, t]).log_prob(
            q[f"z_{t}"].value.expand(1, STEPS, n, D)[0, 0, i]
        )
        return at[list(units)].sum().exp()

    for found, block in zip(log_q, blocks, strict=True):
        for number in range(1, STEPS + 1):
            for i in range(n):
                have = [(site, units) for site, units in block if int(site[-1]) < number]
                if not have:
                    continue
                needed = max(int(site[-1]) for site, _ in have) + 1
                for k in range(4 if block[0][0] == "y_1" else 1):
                    total, share = torch.zeros(()), torch.zeros(())
                    for j in range(n):
                        exists = weights[
                            j, needed - 1 :
                        ].sum()  # the chance that item j has all of it
                        each = torch.ones(())
                        for site, units in have:
                            each = each * (
                                classes[j, k]
                                if site == "y_1"
                                else density(int(site[-1]), units, j, i)
                            )
                        total, share = total + other * exists * each, share + other * exists
                    at = found.expand(4, STEPS, n)[k, number - 1, i]
                    same(at, (total / share).log())


def test_errors_say_what_is_wrong():
    q, p = uw.Trace(), uw.Trace()
    with pytest.raises(ValueError, match=r"site 'z': where= has shape \(3,\)"):
        q.normal(torch.zeros(5, 2), 1.0, name="z", where=torch.ones(3))
    q.normal(torch.zeros(5, 2), 1.0, name="z", where=torch.ones(5))
    with pytest.raises(ValueError, match="leave out where="):
        p.normal(0.0, 1.0, value=q["z"], name="z", where=torch.ones(5))


def test_missing_numbers_of_the_data_reach_no_gradient():
    loc = torch.zeros(4, 3, requires_grad=True)
    x = torch.randn(4, 3)
    x[1], x[2, 0] = math.nan, math.nan
    q, p = uw.Trace(), uw.Trace()
    q.normal(loc, 1.0, name="z")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.normal(loc * 2, 1.0, value=x, observed=~x.isnan(), name="x")
    value = uw.elbo(q, p)
    value.sum().backward()
    assert value.isfinite().all()
    assert loc.grad.isfinite().all()
    same(uw.recon(q, p)[1], torch.zeros(()))
