"""Scenes of digits, and a program whose number of steps is latent."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.programs import float64, same  # noqa: F401
from support.real import real
from torch.nn import functional as F

import unweave as uw
from unweave.data.multi_digits import BOX
from unweave.models.scenes import FAINT, lens
from unweave.runs.findings import Number

SHAPE, MOST = (30, 34), 3


def model(shape=SHAPE, **sizes):
    torch.manual_seed(3)
    made = uw.models.counting(shape, MOST, 12, (16,), 5, 4, **sizes).eval()
    with torch.no_grad():  # attention and ink of some size, as after training
        for name, weights in made.named_parameters():
            weights.mul_(1.0 if "prefer" in name else 2.0)
    return made


def encoded(made, x, count=None, most=MOST):
    """The same noise whatever the count, and however many steps there are."""
    torch.manual_seed(7)
    made.encoder.most = made.decoder.most = most
    given = (
        None if count is None else F.one_hot(count, MOST + 1).to(x.dtype)
    )  # class numbers would use up noise
    q = made.encoder(x, count=given)
    return q, made.decoder(x, q)


# -- scenes ----------------------------------------------------------------------------------------


def test_scenes_hold_what_they_say():
    digits = uw.data.digits()
    scenes = uw.data.compose(digits, 401, size=50, seed=4)
    assert scenes.x.shape == (401, 50, 50)
    assert (scenes.count == np.arange(401) % 4).all()
    for x, count, digit, corner in zip(
        scenes.x, scenes.count, scenes.digit, scenes.corner, strict=True
    ):
        assert (
            (digit >= 0).tolist() == (corner >= 0).all(-1).tolist() == [k < count for k in range(3)]
        )
        rest = x.copy()
        for row, column in corner[:count]:
            box = rest[row : row + BOX, column : column + BOX]
            assert box.shape == (BOX, BOX)
            assert box.any()
            box[:] = 0  # were boxes to overlap, the next one would have lost ink
        assert not rest.any()
    first = np.abs(scenes.corner[3::4, 0] - scenes.corner[3::4, 1]).max(-1)
    assert first.min() >= BOX


def test_a_digit_is_in_the_middle_of_its_box_with_all_of_its_ink():
    digits = uw.data.digits()
    scenes = uw.data.compose(digits, 41, size=20, most=1, seed=1)
    ink = {round(float(x.sum()) * 255) for x in digits.x}
    for x in scenes.x[1::2]:
        rows, columns = np.flatnonzero(x.any(1)), np.flatnonzero(x.any(0))
        for at in (rows, columns):
            assert abs(at[0] - (BOX - 1 - at[-1])) <= 1
        assert min(abs(int(x.sum()) - each) for each in ink) <= 32  # bytes of 64 pixels, rounded


def test_places_are_even():
    """Of one box: each corner as likely as any other, chi-squared of 31 cells below its 1e-6
    quantile.
    """
    corner = uw.data.compose(uw.data.digits(), 4000, most=1, seed=2).corner[1::2, 0]
    for axis in (0, 1):
        found = np.bincount(corner[:, axis], minlength=31)
        assert ((found - 2000 / 31) ** 2 / (2000 / 31)).sum() < 82.1


def test_scenes_are_a_function_of_the_seed():
    digits = uw.data.digits()
    one, same_one, other = (uw.data.compose(digits, 20, seed=seed).x for seed in (0, 0, 1))
    assert (one == same_one).all()
    assert (one != other).any()


def test_windows_are_about_their_digits():
    digits = uw.data.digits()
    seen = uw.data.windows(digits, 24, 0)
    off = uw.data.windows(digits, 24, 3, seed=1)
    assert off.shape == seen.shape == (24, 24)
    places = set()
    for centred, x in zip(seen.x, off.x, strict=True):
        shifts = [
            (down, across)
            for down in range(-3, 4)
            for across in range(-3, 4)
            if (np.roll(centred, (down, across), (0, 1)) == x).all()
        ]
        assert shifts
        places |= set(shifts) if len(shifts) == 1 else set()
    assert len(places) == 49


def test_scenes_without_room_are_refused():
    with pytest.raises(ValueError, match="which have 4 places"):
        uw.data.compose(uw.data.digits(), 10, size=50, most=5)


# -- windows ---------------------------------------------------------------------------------------


def test_a_window_is_read_as_a_spatial_transformer_reads_it():
    x, where, side = torch.rand(6, *SHAPE), 2.4 * torch.rand(6, 2) - 1.2, 12
    rows, columns = lens(where, side, SHAPE)
    affine = torch.zeros(6, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = side / SHAPE[1], side / SHAPE[0]
    affine[:, :, 2] = where.flip(-1)
    grid = F.affine_grid(affine, [6, 1, side, side], align_corners=False)
    same(rows @ x @ columns.mT, F.grid_sample(x[:, None], grid, align_corners=False)[:, 0])


def test_drawing_is_the_adjoint_of_reading_and_its_inverse_on_whole_pixels():
    x, window = torch.rand(6, *SHAPE), torch.rand(6, 12, 12)
    rows, columns = lens(torch.rand(6, 2) - 0.5, 12, SHAPE)
    same(((rows @ x @ columns.mT) * window).sum(), (x * (rows.mT @ window @ columns)).sum())
    rows, columns = lens(torch.tensor([[2 / 30, -4 / 34]] * 6), 12, SHAPE)
    same(rows @ (rows.mT @ window @ columns) @ columns.mT, window)
    same((rows.mT @ window @ columns)[:, 10:22, 9:21], window)


def test_any_of_several_digits_makes_a_pixel_white():
    made, x = model(), torch.rand(4, *SHAPE)
    _, p = encoded(made, x, torch.tensor([3, 2, 1, 0]))
    white = p["x"].dist.probs
    same(white[3], torch.full(SHAPE, -math.expm1(-FAINT)))
    q, _ = encoded(made, x, torch.full((4,), 3))
    black = torch.full((4, *SHAPE), math.exp(-FAINT))
    for k in range(MOST):
        ink = made.decoder.writer(uw.Trace(), q, f"_{k}")
        rows, columns = lens(q[f"where_{k}"].value, 12, SHAPE)
        black = black * (-(rows.mT @ ink @ columns)).exp()
        if k == 0:
            same(white[2], 1 - black[2])
    same(white[0], 1 - black[0])


# -- a latent number of steps ----------------------------------------------------------------------


def test_a_scene_of_fewer_steps_scores_as_in_a_program_that_has_no_more():
    made, x = model(), torch.rand(5, *SHAPE)
    count = torch.tensor([3, 0, 2, 1, 2])
    padded = uw.elbo(*encoded(made, x, count))
    white = -math.expm1(-FAINT)
    same(padded[1], (x[1] * math.log(white) - (1 - x[1]) * FAINT).sum() - math.log(MOST + 1))
    for most in range(1, MOST + 1):
        q, p = encoded(made, x, torch.full((5,), most), most)
        assert f"where_{most}" not in q
        same(padded[count == most], uw.elbo(q, p)[count == most])


@pytest.mark.parametrize("kl", ["closed", "sampled"])
def test_the_bound_sums_over_counts_exactly(kl):
    made, x = model(), torch.rand(5, *SHAPE)
    q, p = encoded(made, x)
    log_w = q["count"].dist.logits  # (batch, counts)
    given = torch.stack(
        [uw.elbo(*encoded(made, x, torch.full((5,), k)), kl=kl) for k in range(MOST + 1)], -1
    )
    same(uw.elbo(q, p, kl=kl), (log_w.exp() * (given - log_w)).sum(-1))


def test_what_does_not_exist_has_no_gradient():
    """Networks that a count of 0 does not run learn nothing from it, in whatever term."""
    made, x = model(), torch.rand(5, *SHAPE)
    form = uw.hfvae(alpha=2, beta=3, gamma=4)
    for count, learns in (
        (torch.zeros(5, dtype=torch.long), False),
        (torch.ones(5, dtype=torch.long), True),
    ):
        made.zero_grad()
        form(*encoded(made, x, count), aggregate=uw.minibatch(20)).sum().backward()
        parts = (made.encoder.reader, made.encoder.find, made.decoder.writer)
        moved = [
            w.grad is not None and bool((w.grad != 0).any())
            for part in parts
            for w in part.parameters()
        ]
        assert any(moved) == learns


def test_the_digit_sub_model_shares_its_weights():
    made = model()
    part = uw.models.of_windows(made)
    x = torch.rand(5, 12, 12)
    loss = -uw.elbo(*part(x, digit=torch.arange(5))).mean()
    loss.backward()
    moved = {name for name, w in made.named_parameters() if w.grad is not None}
    assert moved == {
        name for name, _ in made.named_parameters() if ".reader." in name or ".writer." in name
    }
    assert part.reconstruct(x).shape == (5, 12, 12)


def test_steps_learn_to_count():
    """Squares on black: 60 steps on counts that are known of half of the scenes raise the bound and
    name counts.
    """
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    x, count = np.zeros((400, *SHAPE), np.float32), np.arange(400) % 3
    for scene, n in zip(x, count, strict=True):
        for place in rng.choice([(2, 2), (2, 20), (18, 2), (18, 20)], n, replace=False):
            row, column = place + rng.integers(0, 3, 2)
            scene[row : row + 8, column : column + 8] = 1
    torch.manual_seed(0)
    made = uw.models.counting(SHAPE, 2, 12, (16,), 3, 2)
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    x, count = torch.as_tensor(x), torch.as_tensor(count)
    known = torch.where(torch.arange(400) < 200, count, -1)
    bounds = []
    for _ in range(60):
        items = torch.randint(400, (50,))
        q, p = made(x[items], count=known[items])
        bounds.append(uw.elbo(q, p).mean())
        loss = -bounds[-1] - 1000 * uw.label(q, p).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.stack(bounds[-10:]).mean() > torch.stack(bounds[:10]).mean() + 50
    named = made.eval().encoder(x)["count"].dist.logits.argmax(-1)
    assert (named == count).float().mean() > 0.9


# -- the recipe ------------------------------------------------------------------------------------


def test_the_recipe_counts_and_says_so(tmp_path):
    root = real("mnist", "t10k-images-idx3-ubyte.gz")
    torch.set_default_dtype(torch.float32)
    recipe = uw.recipes.counting(quick=True, rate=0.5, mnist=True, data_dir=str(root))
    assert (recipe.data.factors >= 0).sum() == 500
    run = uw.fit(replace(recipe, epochs=1), tmp_path / "run", evaluate=False, quiet=True)
    frozen = {name for name, w in run.model.named_parameters() if not w.requires_grad}
    assert frozen == {
        name for name, _ in run.model.named_parameters() if ".reader." in name or ".writer." in name
    }
    with torch.no_grad():
        shown = run.model, recipe
        numbers, others = [], []
        for found in recipe.findings(*shown):
            (numbers if isinstance(found, Number) else others).append(found)
    assert [number.title for number in numbers][:1] == ["Count accuracy"]
    assert all(0 <= number.value <= 100 for number in numbers)
    assert [type(found).__name__ for found in others] == [
        "Table",
        "Picture",
        "Picture",
        "Table",
        "Table",
    ]
    counts = others[3]
    assert [sum(row[1:]) for row in counts.rows] == [100] * 4


def test_a_rate_is_a_share():
    with pytest.raises(ValueError, match="rate=10"):
        uw.recipes.counting(rate=10)
