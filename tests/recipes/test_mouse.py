"""Messages against brute force, state-space programs against their densities, the mouse, and its
recipe.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.programs import same
from torch.distributions import MultivariateNormal

import unweave as uw
from unweave.data.mouse import FOLLOWS, LASTS, SYLLABLES, record, transitions
from unweave.evaluation.encoded import encoded
from unweave.models.chains import Quadratic, combined, forward_backward, linear_messages, viterbi
from unweave.models.state_space import frames, lasting
from unweave.recipes import mouse_measures as measures
from unweave.training.trainer import trained


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


FAMILIES = (
    uw.models.deep_markov,
    uw.models.switching_linear,
    uw.models.linear_dynamics,
    uw.models.static_frames,
)


def built(family, **settings):
    torch.manual_seed(1)
    return family((5, 8, 8), normals=3, **settings).to(torch.get_default_dtype())


def sequences(n=6, length=5, lengths=None):
    x = torch.rand(n, length, 8, 8)
    for i, end in enumerate(lengths or ()):
        x[i, end:] = math.nan
    return x


# -- exact messages --------------------------------------------------------------------------------


def chain(steps=5, states=3):
    scores = torch.randn(2, steps, states)
    scores[1, 2] = 0.0  # nothing seen
    return scores, torch.randn(states).log_softmax(-1), torch.randn(states, states).log_softmax(-1)


def paths(scores, log_initial, log_transition):
    """Every path with its log p(path, data), by enumeration."""
    steps, states = scores.shape
    every = torch.tensor(list(itertools.product(range(states), repeat=steps)))
    log_p = log_initial[every[:, 0]] + log_transition[every[:, :-1], every[:, 1:]].sum(1)
    return every, log_p + scores[torch.arange(steps), every].sum(1)


def test_forward_backward_is_the_sum_over_all_paths(float64):
    scores, *law = chain()
    evidence, states = forward_backward(scores, *law)
    for i in range(2):
        every, log_p = paths(scores[i], *law)
        same(evidence[i], log_p.logsumexp(0))
        for t, k in itertools.product(range(5), range(3)):
            same(states[i, t, k], log_p[every[:, t] == k].logsumexp(0) - log_p.logsumexp(0))


def test_viterbi_finds_the_most_probable_path(float64):
    scores, *law = chain()
    for i, found in enumerate(viterbi(scores, *law)):
        every, log_p = paths(scores[i], *law)
        assert torch.equal(found, every[log_p.argmax()])


def linear(steps=4, latent=2, pixels=3, items=5):
    """A small linear-Gaussian chain with missing steps, and the joint normal of its path and of
    what is seen.
    """
    a, b = 0.6 * torch.randn(latent, latent), torch.randn(latent)
    emit, d, sigma = torch.randn(pixels, latent), torch.randn(pixels), torch.tensor(0.7)
    m, s = torch.randn(latent), torch.rand(latent) + 0.5
    size = steps * latent
    below = torch.zeros(size, size)
    for t in range(1, steps):
        below[t * latent : (t + 1) * latent, (t - 1) * latent : t * latent] = a
    out = torch.linalg.inv(torch.eye(size) - below)
    first = torch.cat([s**2, torch.ones(size - latent)]).diag()
    mean, cov = out @ torch.cat([m, b.repeat(steps - 1)]), out @ first @ out.mT
    big = torch.block_diag(*[emit] * steps)
    x, seen = torch.randn(items, steps, pixels), torch.rand(items, steps) < 0.7
    seen[0], seen[1] = True, False
    return (a, b, emit, d, sigma), (m, s), (mean, cov, big @ mean + d.repeat(steps), big), x, seen


def test_linear_messages_give_the_likelihood_of_the_joint_normal(float64):
    law, (m, s), (_, cov, at, big), x, seen = linear()
    j, h, c = linear_messages(x, seen, *law)
    evidence = combined(Quadratic(j[:, 0], h[:, 0], c[:, 0]), m, s)[2]
    whole = big @ cov @ big.mT + law[-1] ** 2 * torch.eye(len(at))
    for i, there in enumerate(seen.repeat_interleave(3, 1)):
        if there.any():
            same(
                evidence[i],
                MultivariateNormal(at[there], whole[there][:, there]).log_prob(
                    x[i].flatten()[there]
                ),
            )
        else:
            same(evidence[i], torch.zeros(()))


def test_the_exact_guide_is_the_posterior_path(float64):
    """Π q(z_t | z_{t-1}, x_{t:T}) at any path is p(z | x) of the joint normal."""
    law, (m, s), (mean, cov, at, big), x, seen = linear()
    j, h, c = linear_messages(x, seen, *law)
    z = torch.randn(len(x), 4, 2)
    log_q, loc, spread = torch.zeros(len(x)), m, s
    for t in range(4):
        to, root, _ = combined(Quadratic(j[:, t], h[:, t], c[:, t]), loc, spread)
        log_q = log_q + MultivariateNormal(to, precision_matrix=root @ root.mT).log_prob(z[:, t])
        loc, spread = z[:, t] @ law[0].mT + law[1], torch.ones(2)
    noise = law[-1] ** 2
    for i, there in enumerate(seen.repeat_interleave(3, 1)):
        some = big[there]
        gain = cov @ some.mT @ torch.linalg.inv(some @ cov @ some.mT + noise * torch.eye(len(some)))
        posterior = MultivariateNormal(
            mean + gain @ (x[i].flatten()[there] - at[there]), cov - gain @ some @ cov
        )
        same(log_q[i], posterior.log_prob(z[i].flatten()), tol=1e-9)


# -- models ----------------------------------------------------------------------------------------


def test_every_draw_of_the_linear_models_elbo_is_its_likelihood(float64):
    model, x = built(uw.models.linear_dynamics), sequences(lengths=(5, 3, 1, 5, 4, 2))
    p = model.decoder
    j, h, c = linear_messages(*frames(x), p.a, p.b, p.emit, p.d, uw.nets.scale(p.log_scale))
    exact = combined(Quadratic(j[:, 0], h[:, 0], c[:, 0]), p.m, uw.nets.scale(p.log_s))[2]
    for _ in range(3):
        same(uw.elbo(*model(x)), exact)


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_sequences_score_as_unpadded_ones(family, float64):
    lengths = (5, 3, 1, 5, 4, 2)
    model, x = built(family), sequences(lengths=lengths)
    with torch.no_grad():
        noise = torch.randn(6, 5, 3)
        padded = scored(model, x, noise)
        for i, end in enumerate(lengths):
            same(padded[i], scored(model, x[i : i + 1, :end], noise[i : i + 1, :end])[0])


def scored(model, x, noise):
    """The ELBO at draws that are a function of the noise: the encoder draws them in order, step by
    step.
    """
    waiting = (
        [noise]
        if isinstance(model.encoder, type(built(uw.models.static_frames).encoder))
        else [*noise.unbind(1)]
    )

    def drawn(dist):
        if isinstance(dist, MultivariateNormal):
            return dist.loc + (dist.scale_tril @ waiting.pop(0).unsqueeze(-1)).squeeze(-1)
        if dist.batch_shape[-1] == 8:  # frames that are missing
            return dist.loc
        return dist.loc + dist.scale * waiting.pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uw.trace.origins, "draw", drawn)
        patch.setattr(uw.trace.values, "draw", drawn)
        return uw.elbo(*model(x), kl="sampled")


def test_a_frame_missing_within_is_integrated(float64):
    """Its pixels change nothing, its z is there, and gradients are finite."""
    model, x = built(uw.models.deep_markov), sequences()
    x[2, 1] = math.nan
    q, p = model(x)
    assert torch.is_tensor(q["z_1"].exists)
    assert q["z_1"].exists.all()
    value = uw.elbo(q, p)
    value.sum().backward()
    assert value.isfinite().all()
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())


def test_switching_sums_over_the_paths_of_its_states(float64):
    """Σ_t log p(z_t | z_{<t}) of the program is log Σ_s p(s) Π_t p(z_t | z_{t-1}, s_t), path by
    path.
    """
    model = built(uw.models.switching_linear, states=3)
    p_module, q = model.decoder, model.encoder(sequences(n=2))
    p = p_module(None, q)
    z = torch.stack([q[f"z_{t}"].value for t in range(5)], 1)
    each = p_module.step(z[:, :-1]).log_prob(z[:, 1:, None])
    found = sum(p[f"z_{t}"].log_prob for t in range(1, 5))
    for i in range(2):
        every, log_p = paths(each[i], *p_module.chain())
        same(found[i], log_p.logsumexp(0))
        for k in range(3):
            same(
                p_module.states(z)[i, 2, k],
                log_p[every[:, 2] == k].logsumexp(0) - log_p.logsumexp(0),
            )


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_terms_of_time_indexed_sites_add_up(family, float64):
    """recon − mi − kl[0] of all steps is the ELBO, with q(z) of whole paths: the exact value over a
    batch of all.
    """
    model, x = built(family), sequences(lengths=(5, 3, 4, 5, 4, 2))
    q, p = model(x)
    d = uw.Densities(q, p, aggregate=uw.exact(q), kl="sampled")
    same(d.score(uw.recon - uw.mi - uw.kl[0]), d.score(uw.elbo))
    assert (d.score(uw.mi) <= math.log(6) + 1e-9).all()  # log 1/N Σ_n q(z|x_n) holds the item's own


def test_memory_of_joint_blocks_is_bounded(float64, monkeypatch):
    """However many items, pairs are made a chunk of rows at a time: no call of the law sees more
    than it may.
    """
    model, x = built(uw.models.deep_markov), sequences(n=30)
    most, law = [], model.encoder.step
    monkeypatch.setattr(
        model.encoder,
        "step",
        lambda z, h: most.append(math.prod(z.shape[:-1]) * len(h)) or law(z, h),
    )
    monkeypatch.setattr(uw.aggregate.rewrite, "PAIRS", 30 * 200)
    q, p = model(x)
    most.clear()
    value = uw.mi(q, p, aggregate=uw.minibatch(30))
    value.sum().backward()
    assert max(most) < 30 * 30 / 5
    assert value.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_models_encode_decode_sample_and_are_rebuilt(family, tmp_path):
    model = built(family)
    x = sequences(lengths=(5, 3, 1, 5, 4, 2))
    assert model.encode(x).shape == (6, 15)
    assert model.sample(4).shape == model.reconstruct(x[:4]).shape == (4, 5, 8, 8)
    uw.save(model, tmp_path / "m")
    torch.testing.assert_close(uw.load(tmp_path / "m").encode(x), model.encode(x))


def test_which_steps_last():
    seen = torch.tensor([[True, False, True, False], [False, False, False, False]])
    assert lasting(seen).tolist() == [[True, True, True, False], [False] * 4]


# -- the mouse -------------------------------------------------------------------------------------


def test_the_mouse_is_a_function_of_its_arguments():
    one, two, other = (record("train", 5, length=7, shortest=3, seed=s) for s in (0, 0, 1))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one.syllable, other.syllable)
    assert not np.array_equal(one.syllable, record("test", 5, length=7, shortest=3).syllable)


def test_syllables_follow_their_chain():
    """Frequencies of what follows what, within 5 standard errors of 36 shares (about 2 in 100,000
    by chance).
    """
    assert np.allclose(transitions().sum(1), 1)
    assert np.allclose(FOLLOWS.sum(1), 1)
    assert np.allclose(1 / (1 - np.diag(transitions())), LASTS)
    s = record("train", 2000, length=30, size=8).syllable
    counts = np.zeros((6, 6))
    np.add.at(counts, (s[:, :-1].ravel(), s[:, 1:].ravel()), 1)
    total, p = counts.sum(1, keepdims=True), transitions()
    assert (np.abs(counts / total - p) <= 5 * np.sqrt(p * (1 - p) / total)).all()


def test_turns_turn_and_noise_is_as_said():
    recording, clean = record("test", 50), record("test", 50, noise=0.0)
    np.testing.assert_array_equal(recording.pose, clean.pose)
    assert clean.x.min() == 0
    assert clean.x.max() < 1.2
    assert abs((recording.x - clean.x).std() - 0.08) < 0.001
    turn = np.diff(recording.pose[..., 0], axis=1)
    left, right = (
        turn[recording.syllable[:, 1:] == SYLLABLES.index(f"turn {way}")].mean()
        for way in ("left", "right")
    )
    assert abs(left - 0.25) < 0.01
    assert abs(right + 0.25) < 0.01


def test_lengths_differ_and_missing_frames_are_declared():
    data = uw.data.mouse("train", 40, length=9, shortest=4)
    assert data.missing
    lengths = (~np.isnan(data.x).any((2, 3))).sum(1)
    assert lengths.min() == 4
    assert lengths.max() == 9
    with pytest.raises(ValueError, match="missing=True"):
        uw.data.Data(data.x, data.factors, (), (), (), "mouse")
    assert not uw.data.mouse("train", 3, length=4).missing
    with pytest.raises(ValueError, match="shortest=9"):
        uw.data.mouse("train", 3, length=4, shortest=9)


# -- the recipe ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["body", "deep-markov", "switching", "static", "linear"])
def test_the_recipe_trains_and_shows_what_it_found(kind):
    recipe = uw.recipes.mouse(model=kind, quick=True)
    with torch.no_grad():
        found = recipe.findings(trained(recipe), recipe)
    titles = [finding.title for finding in found]
    assert "Held-out log p(x) a frame" in titles
    assert ("Forecasts" in titles) == (kind != "static")
    assert ("Costs of mergers" in titles) == (kind == "body")


def test_the_law_of_a_trained_mouse_is_fitted_to_its_codes():
    recipe = uw.recipes.mouse(quick=True)
    model, lagging = trained(recipe), trained(replace(recipe, finish=None))
    codes = measures.moves(model, recipe.data.floats())
    assert measures.lawful(model).log_prob(codes) > measures.lawful(lagging).log_prob(codes) + 0.05


def test_the_bound_of_the_linear_model_is_its_likelihood():
    model, x = built(uw.models.linear_dynamics), sequences(lengths=(5, 3, 1, 5, 4, 2)).numpy()
    scores = measures.likelihood(model, x, draws=3)
    assert abs(scores["bound"][0] - scores["ELBO"][0]) < 1e-2


def test_a_forecast_keeps_what_was_seen():
    model, x = built(uw.models.deep_markov), sequences().numpy()
    other = x.copy()
    other[:, 3:] = 0.5
    np.testing.assert_array_equal(
        measures.forecast(model, x, 3), measures.forecast(model, other, 3)
    )
    assert measures.forecast(model, x, 3).shape == x.shape


def test_items_encoded_a_few_at_a_time_keep_what_their_steps_are_given():
    model, x = built(uw.models.deep_markov), sequences(n=7)
    with torch.no_grad():
        whole = encoded(model, x, rows=3)
        messages = model.encoder.messages(*frames(x))
    for t in range(1, 5):
        torch.testing.assert_close(whole[f"z_{t}"].law.inputs[0], messages[t])
