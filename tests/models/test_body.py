"""The body's frame: headings that turn with images, a law that sums over its states, syllables."""

import math

import numpy as np
import pytest
import torch
from support.programs import same

import unweave as uw
from unweave.affine import heading
from unweave.data.mouse import record
from unweave.models.body import begin_body, refit_law, steps, unwound
from unweave.models.body import read as reading
from unweave.models.state_space import frames
from unweave.trace.circle import wrapped

SHAPE = (5, 12, 12)


def built(**settings):
    torch.manual_seed(1)
    return uw.models.body_frame(SHAPE, normals=2, hidden=8, states=3, **settings)


def sequences(lengths=(5, 3, 1, 5)):
    x = torch.as_tensor(record("test", len(lengths), length=5, size=12).x)
    for i, end in enumerate(lengths):
        x[i, end:] = math.nan
    return x


def read(q, site):
    return torch.stack([node.dist.loc for name, node in q.items() if name.startswith(site)], 1)


# -- heading ---------------------------------------------------------------------------------------


def test_headings_are_measured_in_noise():
    """Two recordings of the same poses differ by 0.03 radians or less in half of the frames, by
    the camera's noise; none points backwards.
    """
    torch.manual_seed(0)
    recording, clean = record("test", 40), torch.as_tensor(record("test", 40, noise=0.0).x)
    angle = heading(torch.as_tensor(recording.x))
    other = heading(clean + 0.08 * torch.randn_like(clean))
    assert wrapped(angle - other).abs().median() < 0.03
    off = wrapped(angle - torch.as_tensor(recording.pose[..., 0])).abs()
    assert off.max() < math.pi / 2


def test_a_heading_turns_with_its_image():
    x = torch.as_tensor(record("test", 20, length=1).x)
    turned = torch.rot90(x, 1, (-2, -1))
    off = wrapped(heading(turned) - heading(x) - math.pi / 2)
    assert off.abs().max() < 1e-3


def test_unwound_paths_have_no_jumps():
    path = torch.cumsum(torch.full((2, 30), 0.4), -1)
    torch.testing.assert_close(unwound(wrapped(path)).diff(dim=-1), path.diff(dim=-1))


# -- the program -----------------------------------------------------------------------------------


def test_a_turned_recording_has_the_same_body():
    """A quarter turn moves all headings, and neither z nor the bound."""
    model, x = built(), sequences()
    torch.nn.init.normal_(model.encoder.curved[-1].weight, std=0.1)
    turned = torch.rot90(x, 1, (-2, -1))
    with torch.no_grad():
        one, two = model.encoder(x), model.encoder(turned)
    seen = frames(x)[1]
    torch.testing.assert_close(read(one, "z_")[seen], read(two, "z_")[seen], atol=1e-3, rtol=0)
    off = wrapped(read(two, "heading_") - read(one, "heading_") - math.pi / 2).squeeze(-1)
    assert off[seen].abs().max() < 1e-3


def test_the_program_sums_over_paths_of_syllables():
    """Its sites z_t and heading_t together have the density of the law, path by path."""
    torch.set_default_dtype(torch.float64)
    try:
        model = built().double()
        torch.nn.init.normal_(model.decoder.below)
        x = sequences(lengths=(5, 5, 5)).double()
        q, p = model(x)
        z = torch.stack([q[f"z_{t}"].value for t in range(5)], 1)
        angle = torch.cat([q[f"heading_{t}"].value for t in range(5)], 1)
        evidence, _ = model.decoder.law().messages(steps(z, angle, frames(x)[1]))
        sites = [p[f"{kind}_{t}"].log_prob for t in range(1, 5) for kind in ("z", "heading")]
        same(sum(sites), evidence)
    finally:
        torch.set_default_dtype(torch.float32)


def test_frames_beyond_the_end_change_nothing():
    model, x = built(), sequences()
    with torch.no_grad():
        for i, end in enumerate((5, 3, 1, 5)):
            padded = model.encoder(x)
            alone = model.encoder(x[i : i + 1, :end])
            torch.testing.assert_close(read(padded, "z_")[i, :end], read(alone, "z_")[0])
    q, p = model(x)
    assert q["z_3"].exists.flatten().tolist() == [True, False, False, True]
    value = uw.elbo(q, p)
    value.sum().backward()
    assert value.isfinite().all()
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())


def test_models_encode_decode_sample_and_are_rebuilt(tmp_path):
    model, x = built(), sequences()
    assert model.encode(x).shape == (4, 15)
    assert model.sample(3).shape == model.reconstruct(x[:3]).shape == (3, *SHAPE)
    uw.save(model, tmp_path / "m")
    torch.testing.assert_close(uw.load(tmp_path / "m").encode(x), model.encode(x))


def test_a_refitted_law_says_best_what_the_model_reads_and_nothing_else_moves():
    model = built()
    x = torch.as_tensor(record("train", 60, length=5, size=12, shortest=3).x)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    seen = reading(model, x)

    def nats():
        return model.decoder.law().double().log_prob(seen)

    began = nats()
    refit_law(model, x)
    once = nats()
    assert once > began + 0.3
    refit_law(model, x)
    assert abs(nats() - once) < 0.01 * (once - began)
    law = {"weights", "below", "log_spread", "log_initial", "log_transition"}
    for name, weight in model.state_dict().items():
        of_law = name.removeprefix("decoder.") in law
        assert torch.equal(weight, before[name]) != of_law, name


# -- what it finds ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun():
    recording = record("train", 250, length=20, shortest=12)
    torch.manual_seed(0)
    model = uw.models.body_frame((20, 24, 24))
    found = begin_body(model, torch.as_tensor(recording.x), starts=4)
    return model, found


def syllables_agree(model):
    recording = record("test", 100, length=20, shortest=12)
    x = torch.as_tensor(recording.x)
    with torch.no_grad():
        q = model.encoder(x)
        moves = steps(read(q, "z_"), read(q, "heading_").squeeze(-1), frames(x)[1])
        states = model.decoder.law().messages(moves)[1].argmax(-1).numpy()
    true = recording.syllable[:, 1:]
    return uw.metrics.ari(states[true >= 0], true[true >= 0])


@pytest.mark.slow
def test_a_model_begins_with_the_syllables(begun):
    """They are found without labels; without frames of the body's own they are not."""
    model, found = begun
    assert found[0].held_out >= found[-1].held_out
    assert syllables_agree(model) > 0.85


@pytest.mark.slow
def test_training_keeps_the_syllables_and_raises_the_bound(begun):
    model, _ = begun
    x = torch.as_tensor(record("train", 250, length=20, shortest=12).x)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    bounds = []
    for i in range(30):
        bound = uw.elbo(*model(x[8 * i : 8 * i + 8])).mean()
        optimizer.zero_grad()
        (-bound).backward()
        optimizer.step()
        bounds.append(float(bound.detach()))
    assert np.mean(bounds[-5:]) > np.mean(bounds[:5]) + 300
    assert syllables_agree(model) > 0.85
