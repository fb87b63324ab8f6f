"""Enumerated sites against loops over every class, item, component and block."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import OneHotCategorical, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import unweave as uw
from unweave.aggregate import classes, unfused
from unweave.nets import cat
from unweave.trace.groups import chain

N = 30
A, B = 3, 2  # classes of y and of c
WEIGHTS = {
    "h_y": (2, A),
    "h_z": (2, 2),
    "y_z": (A, 2),
    "z_c": (2, B),
    "h_w": (2, 1),
    "c_v": (B, 2),
    "y_x": (A, 4),
    "z_x": (2, 4),
    "v_x": (2, 4),
    "y_prior": (A, 2),
    "c_prior": (B, 2),
}


def weights():
    return {name: torch.randn(shape) for name, shape in WEIGHTS.items()}


def program(h, x, noise, m, labels=None):
    """Run y, z given y, a w of its own, c given z, v given c; priors of z given y, of v given c."""
    q, p = uw.Trace(), uw.Trace()
    y = q.categorical(h @ m["h_y"], value=labels, name="y")
    z = q.sample(Fixed(h @ m["h_z"] + y @ m["y_z"], 0.6, noise[:, :2]), name="z")
    w = q.sample(Fixed(h @ m["h_w"], 0.8, noise[:, 2:3]), name="w")
    c = q.categorical(z @ m["z_c"], name="c")
    v = q.sample(Fixed(h + c @ m["c_v"], 0.5, noise[:, 3:]), name="v")
    p.categorical(torch.tensor([0.5, 0.0, -0.5]), value=q["y"], name="y")
    p.normal(y @ m["y_prior"], 1.3, value=q["z"], name="z")
    p.normal(0.2, 1.1, value=q["w"], name="w")
    p.categorical(torch.zeros(B), value=q["c"], name="c")
    p.normal(c @ m["c_prior"], 0.9, value=q["v"], name="v")
    y, z, w, v = (q[name].value for name in "yzwv")
    p.bernoulli(y @ m["y_x"] + z @ m["z_x"] + v @ m["v_x"] + w, value=x, name="x")
    return q, p


class Fixed(torch.distributions.Normal):
    """A Normal whose draws are made with the noise that is given."""

    def __init__(self, loc, scale, noise):
        super().__init__(loc, scale, validate_args=False)
        self.noise = noise

    def rsample(self, sample_shape=()):
        return self.loc + self.scale * self.noise


class Twin:
    """Log-densities of q and p by loops over components, with classes set by hand."""

    def __init__(self, h, x, noise, m, labels, n):
        self.args, self.labels, self.n, self.items = (h, x, noise, m), labels, n, len(h)

    def locs(self, i, a, b):
        h, _, _, m = self.args
        z_loc = h[i] @ m["h_z"] + m["y_z"][a]
        return {"z": (z_loc, 0.6), "w": (h[i] @ m["h_w"], 0.8), "v": (h[i] + m["c_v"][b], 0.5)}

    def value(self, i, a, b):
        noise = self.args[2][i]
        parts = {"z": noise[:2], "w": noise[2:3], "v": noise[3:]}
        return {
            site: loc + scale * parts[site] for site, (loc, scale) in self.locs(i, a, b).items()
        }

    def log_class(self, i, a, b, z):
        """log q(y=a|x_i) (its label's, if it has one) and log q(c=b|x_i, z)."""
        h, _, _, m = self.args
        log_y = (h[i] @ m["h_y"]).log_softmax(-1)[a]
        if self.labels is not None and self.labels[i] >= 0:
            log_y = torch.tensor(0.0 if self.labels[i] == a else -math.inf)
        return {"y": log_y, "c": (z @ m["z_c"]).log_softmax(-1)[b]}

    def latent(self, i, block):
        seen = self.labels is not None and self.labels[i] >= 0
        return [(site, units) for site, units in block if not (site == "y" and seen)]

    def q(self, i, a, b, block, components):
        """log Σ_j w_j Σ q(class|x_j) q(block|x_j, class).

        The inner sum is over classes that agree with the row's in the block.
        """
        block, row = self.latent(i, block), self.value(i, a, b)
        total = torch.zeros(())
        for j, w in components:
            for a2, b2 in itertools.product(range(A), range(B)):
                sites = dict(block)
                if ("y" in sites and a2 != a) or ("c" in sites and b2 != b):
                    continue
                if "y" in sites:  # an item's recognition of y, label or not
                    h, _, _, m = self.args
                    log_y = (h[j] @ m["h_y"]).log_softmax(-1)[a2]
                else:
                    log_y = self.log_class(j, a2, b2, row["z"])["y"]
                each = log_y + self.log_class(j, a2, b2, self.value(j, a2, b2)["z"])["c"]
                for site, units in block:
                    if site in "zwv":
                        loc, scale = self.locs(j, a2, b2)[site]
                        each = each + sum(
                            torch.distributions.Normal(loc[u], scale).log_prob(row[site][u])
                            for u in units
                        )
                total = total + w * each.exp()
        return total.log()

    def p(self, i, a, b, block):
        block, row, m = self.latent(i, block), self.value(i, a, b), self.args[3]
        total, sites = torch.zeros(()), dict(block)
        prior_y = torch.tensor([0.5, 0.0, -0.5]).log_softmax(-1)
        seen = self.labels is not None and self.labels[i] >= 0
        for a2, b2 in itertools.product(range(A), range(B)):
            if (
                ("y" in sites and a2 != a)
                or ("c" in sites and b2 != b)
                or (seen and a2 != self.labels[i])
            ):
                continue
            each = (0.0 if seen else prior_y[a2]) - math.log(B)
            locs = {
                "z": (m["y_prior"][a2], 1.3),
                "w": (torch.tensor([0.2]), 1.1),
                "v": (m["c_prior"][b2], 0.9),
            }
            for site, units in block:
                if site in "zwv":
                    loc, scale = locs[site]
                    each = each + sum(
                        torch.distributions.Normal(loc[u], scale).log_prob(row[site][u])
                        for u in units
                    )
            total = total + torch.as_tensor(each).exp()
        return total.log()

    def mean(self, i, fn):
        """Σ q(y, c|x_i) fn(y, c)."""
        total = torch.zeros(())
        for a, b in itertools.product(range(A), range(B)):
            log_class = self.log_class(i, a, b, self.value(i, a, b)["z"])
            w = (log_class["y"] + log_class["c"]).exp()
            if w > 0:
                total = total + w * fn(a, b)
        return total

    def recon(self, i, a, b):
        x, m, row = self.args[1][i], self.args[3], self.value(i, a, b)
        logits = m["y_x"][a] + row["z"] @ m["z_x"] + row["v"] @ m["v_x"] + row["w"]
        log_x = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum()
        seen = self.labels is not None and self.labels[i] >= 0
        return log_x + (torch.tensor([0.5, 0.0, -0.5]).log_softmax(-1)[a] if seen else 0.0)

    def balanced(self, i):
        other = (self.n - 1) / (self.n * (self.items - 1))
        return [(j, 1 / self.n if j == i else other) for j in range(self.items)]


GROUPS = [("y", ("z", "c"), "w", "v"), (("y", "z", "c"), ("w", "v")), (("z", "c", "v"), "y", "w")]


def setup(labels):
    h, x, noise, m = torch.randn(5, 2), torch.rand(5, 4).round(), torch.randn(5, 5), weights()
    q, p = program(h, x, noise, m, labels)
    return q, p, Twin(h, x, noise, m, labels, N)


@pytest.mark.parametrize("labels", [None, torch.tensor([1, -1, 0, -1, 2])], ids=["none", "some"])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("level", [0, 1])
def test_every_term_is_the_sum_over_the_classes(groups, level, labels):
    q, p, twin = setup(labels)
    d = uw.Densities(q, p, groups=groups, aggregate=uw.minibatch(N), kl="sampled")
    blocks, whole = d.levels[level], d.levels[0][0]
    forms = {
        uw.Atom("q", level): lambda i, a, b: sum(
            twin.q(i, a, b, part, twin.balanced(i)) for part in blocks
        ),
        uw.Atom("p", level): lambda i, a, b: sum(twin.p(i, a, b, part) for part in blocks),
        uw.Atom("posterior"): lambda i, a, b: twin.q(i, a, b, whole, [(i, 1.0)]),
        uw.Atom("recon"): twin.recon,
    }
    for atom, form in forms.items():
        same(
            d[atom],
            torch.stack(
                [twin.mean(i, lambda a, b, i=i, form=form: form(i, a, b)) for i in range(5)]
            ),
        )
    same(d.score(uw.elbo), d.score(uw.recon - uw.mi - uw.kl[0]))
    same(d.score(uw.hfvae(1, 1, 1)), d.score(uw.recon - uw.mi - uw.tc[0] - uw.tc[1:] - uw.kl[-1]))


def test_shapes_and_roles():
    q, p, _ = setup(None)
    assert repr(q).splitlines()[1] == "y     enumerated  OneHotCategorical  (3, 5, 3)"
    assert {name: tuple(node.value.shape) for name, node in q.items()} == {
        "y": (3, 5, 3), "z": (3, 5, 2), "w": (5, 1), "c": (2, 1, 5, 2), "v": (2, 1, 5, 2),
    }  # fmt: skip
    assert tuple(p["x"].log_prob.shape) == (2, 3, 5, 4)
    assert uw.elbo(q, p).shape == (5,)


def test_drawing_a_class_keeps_what_belongs_to_it():
    q, _, twin = setup(torch.tensor([1, -1, 0, -1, 2]))
    torch.manual_seed(1)
    seen = set()
    for _ in range(40):
        one = q.draw()
        a, b = one["y"].value.argmax(-1), one["c"].value.argmax(-1)
        assert a[[0, 2, 4]].tolist() == [1, 0, 2]
        seen.add(tuple(a.tolist()))
        for i in range(5):
            for site, value in twin.value(i, a[i], b[i]).items():
                same(one[site].value[i], value)
                same(one[site].dist.loc[i], twin.locs(i, a[i], b[i])[site][0])
    assert len(seen) > 3
    assert q.free(7)["z"].value.shape == (7, 2)


def test_drawn_classes_have_the_frequencies_of_the_posterior():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    q = uw.Trace()
    q.categorical(logits.repeat_interleave(20_000, 0), name="y")
    share = q.draw()["y"].value.reshape(2, 20_000, 3).mean(1)
    assert (share - logits.softmax(-1)).abs().max() < 5 * 0.5 / math.sqrt(20_000)


@pytest.mark.parametrize(
    "objective", [uw.elbo, uw.hfvae(2, 5, 3) + 0.5 * uw.label, uw.mi.of("y") - uw.kl[0].of("z")]
)
def test_gradients_agree_with_finite_differences(objective):
    labels, n = torch.tensor([1, -1, -1, 0]), len(WEIGHTS)
    x, noise = torch.rand(4, 4).round(), torch.randn(4, 5)

    def value(h, *m):
        q, p = program(h, x, noise, dict(zip(WEIGHTS, m, strict=True)), labels)
        d = uw.Densities(q, p, groups=(("y", "z"), ("c", "v"), "w"), aggregate=uw.minibatch(20))
        return (d.score(objective) * torch.tensor([1.0, 0.3, -0.7, 0.5])).sum()

    inputs = [(0.5 * t).requires_grad_() for t in (torch.randn(4, 2), *weights().values())]
    assert len(inputs) == n + 1
    assert torch.autograd.gradcheck(value, inputs, eps=1e-6, atol=1e-6)


def test_closed_kl_is_the_sum_over_classes():
    h = torch.randn(6, 2)
    q, p, m = uw.Trace(), uw.Trace(), weights()
    y = q.categorical(h @ m["h_y"], name="y")
    q.normal(h @ m["h_z"] + y @ m["y_z"], 0.6, name="z")
    p.categorical(torch.tensor([0.5, 0.0, -0.5]), value=q["y"], name="y")
    p.normal(y @ m["y_prior"], 1.3, value=q["z"], name="z")
    own = kl_divergence(q["y"].dist, p["y"].dist)
    z = (q["y"].dist.probs.T * kl_divergence(q["z"].dist, p["z"].dist).sum(-1)).sum(0)
    same(uw.elbo(q, p), -own - z)
    d = uw.Densities(q, p)
    both = uw.mi + uw.kl[0]
    same(d.score(-4 * both + 3 * both.of("y")), -own - 4 * z)  # z's own, given y, by arithmetic


def test_the_information_in_a_class_is_exact_with_all_items():
    """I(x;y) = H(mean q(y|x)) − mean H(q(y|x)) when the batch is the data set."""
    logits = 3 * torch.randn(50, 4)
    q, p = uw.Trace(), uw.Trace()
    q.categorical(logits, name="y")
    p.categorical(torch.zeros(4), value=q["y"], name="y")
    probs = logits.softmax(-1)
    entropy = -(probs.mean(0) * probs.mean(0).log()).sum() + (probs * probs.log()).sum(-1).mean()
    for estimator in (uw.minibatch(50), uw.exact(q)):
        same(uw.mi(q, p, aggregate=estimator).mean(), entropy)


def test_log_p_of_x_of_a_mixture_is_exact():
    """With z's true posterior for each class, every importance sample gives log p(x)."""
    n, samples = 5, 3
    x, loc, logits = torch.randn(n), torch.tensor([-1.0, 0.5, 2.0]), torch.randn(n, 3)
    q, p = uw.Trace(), uw.Trace()
    y = q.categorical(logits.expand(samples, n, 3), name="y")
    z = q.normal((x + y @ loc) / 2, math.sqrt(0.5), name="z")
    p.categorical(torch.tensor([0.3, 0.0, -0.4]), value=q["y"], name="y")
    p.normal(y @ loc, 1.0, value=q["z"], name="z")
    p.normal(z, 1.0, value=x.expand(samples, n), name="x")
    mixture = torch.tensor([0.3, 0.0, -0.4]).log_softmax(-1) + torch.distributions.Normal(
        loc, math.sqrt(2)
    ).log_prob(x[:, None])
    same(uw.evidence(q, p, batch_dim=1), mixture.logsumexp(-1).expand(samples, n))


@pytest.mark.parametrize("labels", [None, torch.tensor([1, -1, 0, -1, 2])], ids=["none", "some"])
def test_exact_with_drawn_rows_sums_over_the_components_classes(labels):
    q, _, twin = setup(labels)
    torch.manual_seed(2)
    rows = q.draw()
    a, b = rows["y"].value.argmax(-1), rows["c"].value.argmax(-1)
    shapes = {"y": (), "z": (2,), "w": (1,), "c": (), "v": (2,)}
    blocks = [b for level in chain((("y", "v"), ("z", "c"), "w"), shapes) for b in level]
    for part, log_q in zip(blocks, uw.exact(q)(rows, blocks, 0), strict=True):
        everyone = [(j, 1 / 5) for j in range(5)]
        same(
            log_q, torch.stack([twin.q(i, int(a[i]), int(b[i]), part, everyone) for i in range(5)])
        )


def test_taking_items_is_running_the_program_on_them():
    labels, some = torch.tensor([1, -1, 0, -1, 2]), torch.tensor([3, 1, 0, 4])
    q, _, twin = setup(labels)
    h, x, noise, m = twin.args
    few, again = q.take(some), program(h[some], x[some], noise[some], m, labels[some])[0].aligned()
    blocks = [(("y", (0,)), ("z", (1,))), (("v", (0, 1)),)]
    for log_q, expected in zip(*(uw.minibatch(9)(t, blocks, 2) for t in (few, again)), strict=True):
        same(log_q, expected)
    assert few.draw()["y"].value.argmax(-1)[2] == 1


@pytest.mark.parametrize("depends", [False, True])
def test_exact_with_drawn_rows_of_one_site_is_the_plain_sum(depends):
    """Class by class, against all pairs at once; z given y or not."""
    logits, mean, by_class = torch.randn(20, 3), torch.randn(20, 4), torch.randn(3, 4)
    q = uw.Trace()
    y = q.categorical(logits, name="y")
    q.normal(mean + (y @ by_class if depends else 0.0), 0.4, name="z")
    rows, posterior = q.take(torch.arange(3, 15)).draw(), q.aligned()
    blocks = [
        (("y", (0,)), ("z", (0, 1, 2, 3))),
        (("y", (0,)), ("z", (2,))),
        (("z", (0, 1)),),
        (("y", (0,)),),
    ]
    weights = torch.full((1, 20), -math.log(20))
    for part, log_q in zip(blocks, uw.exact(q)(rows, blocks), strict=True):
        lone = rows.aligned(1)
        summed = classes.classes_summed(lone, posterior, part, 1)
        (plain,) = unfused.log_mixture_unfused(lone, posterior, [part], summed, weights, 1, 10**6)
        same(log_q, plain.flatten())


def test_exact_in_small_parts_is_exact():
    q, _, _ = setup(torch.tensor([1, -1, 0, -1, 2]))
    blocks = [
        (("y", (0,)),),
        (("y", (0,)), ("z", (0, 1))),
        (("z", (0, 1)),),
        (("c", (0,)), ("v", (0,))),
    ]
    q = q.aligned()
    for budget in (1, 500):
        for log_q, whole in zip(
            uw.exact(q, budget)(q, blocks, 2), uw.exact(q)(q, blocks, 2), strict=True
        ):
            same(log_q, whole)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor has which is made inside."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for t in made if isinstance(made, tuple | list) else [made]:
            if (
                isinstance(t, torch.Tensor) and t.untyped_storage().nbytes()
            ):  # views of one number are one number
                self.most = max(self.most, t.untyped_storage().nbytes() // t.element_size())
        return made


def test_sums_over_classes_keep_to_their_budget():
    """Rows hold a drawn y, and c is summed over: a row meets 60 x 2 x 50 components."""
    q, classes, items = uw.Trace(), 60, 50
    q.categorical(torch.randn(items, classes), name="y")
    c = q.categorical(torch.randn(items, 2), name="c")
    q.normal(c @ torch.randn(2, 1), 0.4, name="v")
    rows, block = q.draw(), [(("y", (0,)), ("v", (0,)))]
    whole = uw.exact(q)(rows, block)
    with Largest() as seen:
        (log_q,) = uw.exact(q, budget=20_000)(rows, block)
    same(log_q, whole[0])
    assert seen.most <= 2 * 20_000


# -- refusals --------------------------------------------------------------------------------------


def test_too_many_classes_are_refused():
    q = uw.Trace()
    for name in "abc":
        q.categorical(torch.zeros(2, 16), name=name)
    with pytest.raises(
        ValueError,
        match=r"site 'd' makes 16 x 16 x 16 x 16 combinations .* at most 4096.*q\.concrete",
    ):
        q.categorical(torch.zeros(2, 16), name="d")


@pytest.mark.parametrize("items", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("samples", [(), (3,)])
def test_any_number_of_items_goes_with_any_number_of_classes(items, samples):
    """As many items, samples, classes and units as one another; the terms against loops."""
    k, lead = 3, (*samples, items)
    m = [torch.randn(k, k) for _ in range(4)]
    h, x = torch.randn(*lead, k), torch.rand(*lead, k).round()
    q, p = uw.Trace(), uw.Trace()
    y = q.categorical(h @ m[0], name="y")
    c = q.categorical(h + y @ m[1], name="c")
    alone = q.normal(h, torch.ones(k), name="alone")
    z = q.normal(torch.cat([h, y, c], -1)[..., :k] + c @ m[2], 1.0, name="z")
    for name in ("y", "c"):
        p.categorical(torch.zeros(k), value=q[name], name=name)
    p.normal(0.0, 1.0, value=q["alone"], name="alone")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.bernoulli((z + y) @ m[3] + alone, value=x, name="x")
    assert (alone.shape, z.shape) == ((*lead, k), (k, k, *lead, k))

    held = q["z"].value.as_subclass(torch.Tensor)  # (classes of c, classes of y, *lead, units)
    log_y = (h @ m[0]).log_softmax(-1)
    total = torch.zeros(lead)
    for i in range(k):
        log_c = (h + m[1][i]).log_softmax(-1)
        for j in range(k):
            w = (log_y[..., i] + log_c[..., j]).exp()
            one = torch.distributions.Bernoulli(
                logits=(held[j, i] + torch.eye(k)[i]) @ m[3] + alone
            )
            total = total + w * one.log_prob(x).sum(-1)
    same(
        uw.recon.coefficients and uw.Densities(q, p, batch_dim=len(samples)).score(uw.recon), total
    )


def bernoulli(logits):
    return torch.distributions.Bernoulli(logits=logits, validate_args=False)


class Square(torch.autograd.Function):
    """A function that torch does not differentiate by itself."""

    @staticmethod
    def forward(ctx, t):
        ctx.save_for_backward(t)
        return t * t

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


IMAGES = torch.nn.Conv2d(1, 2, 2, dtype=torch.float64)
LINEAR = torch.nn.Linear(2, 4, dtype=torch.float64)


def convolve(z):
    """(…, 2) -> (…, 4): each vector as an image of 2 x 2, all leading dimensions folded in one."""
    images = torch.stack([z, z * z], -1).reshape(-1, 1, 2, 2)
    folded = IMAGES(images).flatten(1)  # (n, 2)
    return LINEAR(folded.reshape(*z.shape[:-1], 2))


def halves(z):
    return torch.cat([*z.split(1, -1), *z.chunk(2, -1)], -1)


def transposed(z):
    return (LINEAR.weight @ z.unsqueeze(-1).movedim(-1, -2).mT).squeeze(-1)


FUNCTIONS = {
    "a function of one's own": lambda z: LINEAR(Square.apply(z)),
    "a checkpoint": lambda z: checkpoint(LINEAR, z, use_reentrant=False),
    "a compiled network": torch.compile(LINEAR, backend="eager", dynamic=True),
    "einsum": lambda z: torch.einsum("...d,kd->...k", z, LINEAR.weight),
    "an index": lambda z: z[..., torch.tensor([0, 1, 1, 0])],
    "parts of units": halves,
    "moved units": transposed,
    "a convolution": convolve,
}


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile looks at it
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("items", [1, 3, 4])
def test_whatever_a_program_computes_keeps_the_classes(kind, items):
    """Log-densities of a factor, and their gradient, against a loop over classes."""
    network, k = FUNCTIONS[kind], 3
    h, x, by_class = torch.randn(items, 2), torch.rand(items, 4).round(), torch.randn(k, 2)
    logits = torch.randn(items, k, requires_grad=True)
    mean = torch.randn(items, 2, requires_grad=True)
    q, p = uw.Trace(), uw.Trace()
    y = q.categorical(logits, name="y")
    z = q.sample(Fixed(mean + y @ by_class, 0.5, h), name="z")
    p.factor(bernoulli(network(z)).log_prob(x), name="x")
    p.categorical(torch.zeros(k), value=q["y"], name="y")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    total = torch.zeros(items)
    for c in range(k):
        value = mean + by_class[c] + 0.5 * h
        weight = logits.softmax(-1)[:, c]
        total = total + weight * bernoulli(network(value)).log_prob(x).sum(-1)
    log_x = uw.recon(q, p)
    assert type(log_x) is torch.Tensor
    same(log_x, total)
    inputs = (logits, mean)
    own = torch.autograd.grad(log_x.sum(), inputs)
    for left, right in zip(own, torch.autograd.grad(total.sum(), inputs), strict=True):
        same(left, right)


@pytest.mark.parametrize("items", [1, 2, 3, 4])
@pytest.mark.parametrize("site", ["bernoulli", "mixture", "factor", "loss", "labels"])
def test_a_decoder_may_read_values_before_it_reuses_a_site(items, site):
    """A tensor tells the trace that meets it first which class dimensions there are."""
    k, x = 3, torch.rand(items, 4).round()
    h, labels = torch.randn(items, 2), torch.arange(items) % k
    m, classes = torch.randn(k, 4), torch.randn(k, k)
    q, p = uw.Trace(), uw.Trace()
    q.categorical(h @ torch.randn(2, k), name="y")
    y = q["y"].value
    if site == "bernoulli":
        p.bernoulli(y @ m, value=x, name="x")
    elif site == "mixture":
        vectors = torch.distributions.Independent(bernoulli(y @ m), 1)
        p.sample(vectors, value=x, name="x")
    elif site == "factor":
        p.factor(bernoulli(y @ m).log_prob(x), name="x")
    elif site == "loss":
        p.loss(lambda logits, x: -bernoulli(logits).log_prob(x), y @ m, x, name="x")
    else:
        p.categorical(y @ classes, value=labels, name="x")
    p.categorical(torch.zeros(k), value=q["y"], name="y")
    probs = q["y"].dist.probs
    total = torch.zeros(items)
    for c in range(k):
        log_x = bernoulli(m[c]).log_prob(x).sum(-1)
        if site == "labels":
            log_x = classes[c].log_softmax(-1)[labels]
        total = total + probs[:, c] * log_x
    same(uw.recon(q, p), total)


def test_only_values_know_of_classes():
    """Terms and drawn, aligned and taken traces hold plain tensors."""
    labels = torch.tensor([1, -1, 0, -1, 2])
    q, p, _ = setup(labels)
    d = uw.Densities(q, p, aggregate=uw.minibatch(N))
    kinds = ("recon", "posterior", "q", "p", "label")
    held = [d[uw.Atom(kind)] for kind in kinds]
    held += [d.score(uw.elbo), d.score(uw.hfvae(1, 2, 3))]
    for trace in (q.draw(), q.aligned(), p.aligned(), q.take(torch.tensor([0, 1]))):
        for node in trace.values():
            node.changed(lambda t, lacks: held.append(t) or t)
    for node in (*q.values(), *p.values()):
        if node.dist is not None:
            node.changed(lambda t, lacks: held.append(t) or t, value=None, label=None,
                         observed=False, exists=True, law=None)  # fmt: skip
    assert {type(t) for t in held} == {torch.Tensor}


def test_copies_of_values_know_their_classes_and_files_do_not():
    q = uw.Trace()
    y = q.categorical(torch.zeros(3, 3), name="y")
    for twin in (copy.copy(y), copy.deepcopy(y)):
        assert (twin.classes, twin.axes) == (1, y.axes)
        same(twin, y)
    assert type(pickle.loads(pickle.dumps(y))) is torch.Tensor


def test_joining_without_broadcasting_is_named():
    q = uw.Trace()
    y = q.categorical(torch.zeros(5, 3), name="y")
    assert cat([torch.zeros(5, 7), y]).shape == (3, 5, 10)
    with pytest.raises(ValueError, match=r"site 'z' has shape \(9, 2\).*unweave\.nets\.cat"):
        q.normal(torch.zeros(9, 2), 1.0, name="z")
    with pytest.raises(ValueError, match=r"dim=1.*dim=-1 for what is dim=1 without classes"):
        torch.cat([torch.zeros(5, 7), y], 1)


def test_a_decoder_draws_what_it_is_not_given():
    q, p = uw.Trace(), uw.Trace()
    q.normal(torch.zeros(5, 2), 1.0, name="z")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    assert p.categorical(torch.zeros(5, 3), name="x").shape == (5, 3)
    r = uw.Trace()
    assert r.sample(OneHotCategorical(logits=torch.zeros(5, 3)), name="y").shape == (5, 3)


# -- aligned traces, laws and masks beside classes -------------------------------------------------


def test_a_decoder_reads_an_aligned_trace_as_it_reads_the_trace():
    """Sites in front of an enumerated one have its dimension, of size one, in an aligned trace."""
    q, w, x = uw.Trace(), torch.randn(2, 2), torch.randn(2, 2)
    z = q.normal(torch.randn(2, 2), 0.5, name="z")
    q.categorical(z @ torch.randn(2, 2), name="y")
    q.categorical(torch.randn(2, 2), name="c")

    def decode(q):
        p = uw.Trace()
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        y = p.categorical(z, value=q["y"], name="y")
        c = p.categorical(torch.zeros(2), value=q["c"], name="c")
        p.normal(z @ w + y @ w + c @ w, 1.0, value=x, name="x")
        return p

    some = q.take(torch.arange(2))
    for term in (uw.recon, uw.elbo):
        same(term(some, decode(some)), term(q, decode(q)))


def test_a_law_keeps_its_inputs_beside_classes_that_it_does_not_read():
    q, h, logits = uw.Trace(), torch.randn(4, 2), torch.randn(4, 3)
    q.categorical(torch.randn(4, 2), name="y")
    q.categorical(torch.randn(4, 3), name="c")
    q.normal(h, 0.5, name="a")
    w = torch.randn(2, 3)
    q.conditional(lambda a, t: OneHotCategorical(logits=a @ w + t), "a", logits, name="b")
    block = (("a", (0, 1)), ("b", (0,)))
    (found,) = uw.exact(q)(q.take(torch.arange(4)), [block], 2)
    a, b = (q[name].value.reshape(4, 1, -1) for name in "ab")
    each = torch.distributions.Normal(h, 0.5).log_prob(a).sum(-1)
    each = each + OneHotCategorical(logits=a @ w + logits).log_prob(b)
    same(found.flatten(), each.logsumexp(-1) - math.log(4))


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("kind", ["enumerated", "concrete"])
def test_a_law_is_not_asked_at_labels_as_a_site_that_is_sampled_is_not(kind, drawn):
    """A label leaves its block, so z alone is left of a labelled item: tc between y and z is 0."""
    labels, w = torch.tensor([0, -1, 2, -1, 1]), torch.randn(3, 2)
    of_y, of_z, noise = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 2)
    joints = []
    for how in ("sample", "conditional"):
        torch.manual_seed(1)
        q = uw.Trace()
        if kind == "enumerated":
            y = q.categorical(of_y, value=labels, name="y")
        else:
            y = q.concrete(of_y, 0.6, value=labels, name="y")
        if how == "sample":
            q.sample(Fixed(of_z + y @ w, 0.5, noise), name="z")
        else:
            q.conditional(lambda y: Fixed(of_z + y @ w, 0.5, noise), "y", name="z")
        torch.manual_seed(2)
        rows = q.draw() if drawn else q.aligned()
        blocks = [(("y", (0,)), ("z", (0, 1))), (("z", (0, 1)),)]
        depth = len(rows.classes())
        joint, alone = uw.exact(q)(rows, blocks, depth)
        at = torch.broadcast_to(joint - alone, (*[3] * depth, 5))[..., labels >= 0]
        same(at, torch.zeros(at.shape))
        joints.append(joint)
    same(joints[0][..., labels >= 0], joints[1][..., labels >= 0])


def test_what_exists_by_a_class_is_summed_class_by_class_whatever_its_value_depends_on():
    """Units that a class says exist, drawn without it, under a prior that sums over it."""
    q, logits, w = uw.Trace(), torch.randn(2), torch.randn(2, 2)
    y = q.categorical(torch.randn(3, 2), name="y")
    q.normal(torch.randn(3, 2), 0.5, name="z", where=y[..., 1] > 0.5)
    p = uw.Trace()
    y = p.categorical(logits, value=q["y"], name="y")
    dist = torch.distributions.MultivariateNormal(y @ w, torch.eye(2))
    p.sample(dist, q["z"], name="z")
    d = uw.Densities(q, p, prior=p)
    each = torch.distributions.MultivariateNormal(w, torch.eye(2))
    log_z = (each.log_prob(q["z"].value.reshape(3, 1, 2)) + logits.log_softmax(-1)).logsumexp(-1)
    share = q["y"].dist.probs
    log_y = (share * logits.log_softmax(-1)).sum(-1)
    same(d[uw.Atom("p", 1)], log_y + share[:, 1] * log_z)
