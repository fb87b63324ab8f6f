"""Scenes of 0 to 3 digits: how many there are is known of some scenes; where, which and how are
found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

import unweave as uw
from unweave.runs.findings import Array, Finding, Number, Picture, Table

from .images import Batch, Epochs, Folder, Latents, Rate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unweave.data.multi_digits import Scenes
    from unweave.models import Model
    from unweave.trace.trace import Trace
    from unweave.training.recipe import Recipe

Row = Sequence[str | float | None]

PUBLISHED = {
    0.1: ("85.45 ± 5.77", "76.33 ± 8.91"),
    0.5: ("93.27 ± 2.15", "80.27 ± 5.45"),
    1.0: ("99.81 ± 1.81", "84.79 ± 5.11"),
}
"""By share of scenes whose count is known: without and with MNIST, of Siddharth et al. (2017), as
count accuracy, %.
"""

SIZE, MOST, BOX, SIDE = 50, 3, 20, 24
"""Pixels of a scene's side, its digits at most, and pixels of the sides of a digit's box and of a
window.
"""

OF_TEST = 1_000_000
"""The seed of the test scenes, whatever the run's."""

FRAMES = np.array([[0.90, 0.62, 0.0], [0.34, 0.71, 0.91], [0.0, 0.62, 0.45]])
"""The colours of the first, second and third window."""


def counting(
    *,
    rate: Annotated[
        float,
        "The share of scenes whose count is known; the others' counts are unknown to training.",
    ] = 0.1,
    mnist: Annotated[
        bool, "Learn digits from MNIST and its labels first; then they are kept as they are."
    ] = False,
    scenes: Annotated[int, "Scenes to train on."] = 20_000,
    latents: Latents = 10,
    epochs: Epochs = 2,
    batch: Batch = 100,
    lr: Rate = 2e-3,
    quick: Annotated[bool, "A smaller run, for tests."] = False,
    seed: Annotated[
        int, "Of the scenes, the counts that are known, the weights, the order and the noise."
    ] = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Multi-digit MNIST: 0 to 3 digits a scene, and a program that takes as many steps (Siddharth
    et al., 2017).

    Scenes of 50x50 pixels are composed as a run begins; nobody says where a digit is, which it is,
    or how it looks.

    Measured, mean ± sd over seeds 0, 1, 2, with a tenth, half and all of the counts known: count
    accuracy 99.90 ± 0.02, 99.94 ± 0.01 and 99.95 ± 0.01 % without MNIST, 99.90 ± 0.03, 99.94 ± 0.01
    and 99.95 ± 0.01 % with it; published are 85.45, 93.27 and 99.81 %, and 76.33, 80.27 and 84.79
    %. The counting network alone, on the same labels: 99.94 ± 0.01, 99.93 ± 0.02 and 99.92 ± 0.02
    %. Digits named right: 84.9 ± 1.6, 83.7 ± 2.3 and 84.7 ± 1.0 % with MNIST, 20 to 21 % without. A
    run takes 47 to 93 s of processor time, one thread of a 2-core AMD EPYC (157 to 513 s of
    training as busy as it was), and about two minutes more for its evaluation.
    docs/results/counting.md has what was tried.
    """
    if not 0 < rate <= 1:
        raise ValueError(
            f"rate={rate}: expected the share of scenes whose count is known, above 0 and up to 1"
        )
    flags = locals()
    if quick:
        scenes, epochs = min(scenes, 1000), min(epochs, 2)
    train = uw.data.multi_digits("train", scenes, size=SIZE, most=MOST, seed=seed, root=data_dir)
    test = uw.data.multi_digits(
        "test", 400 if quick else 10_000, size=SIZE, most=MOST, seed=OF_TEST, root=data_dir
    )
    train = train.with_labels("count", round(rate * scenes), seed)
    labelled = batch // 5
    steps = epochs * (len(train) // (batch - labelled))
    return uw.Recipe(
        name="counting",
        data=train,
        test=test,
        model=partial(_model, latents, seed if mnist else None, data_dir, quick),
        objective=uw.formula("elbo + 1000*label"),
        labels={"count": "count"},
        labelled=labelled,
        epochs=epochs,
        batch=batch,
        lr=uw.Ramp(((0, 0.02 * lr), (steps // 10, lr), (steps // 2, lr), (steps, 0.05 * lr))),
        seed=seed,
        logged=10,
        points=200,
        flags=flags,
        findings=_findings,
    )


def _model(latents: int, seed: int | None, root: str | None, quick: bool) -> Model:
    """The whole, its digit sub-model learned from MNIST beforehand where a seed says so."""
    model = uw.models.counting((SIZE, SIZE), MOST, SIDE, normals=latents)
    if seed is not None:
        part = uw.models.of_windows(model)
        part.load_state_dict(_learned(latents, seed, root, quick))
        part.requires_grad_(False)
    return model


@cache
def _learned(latents: int, seed: int, root: str | None, quick: bool) -> dict[str, Any]:
    """The digit sub-model's weights after three passes over MNIST, digits off the middle of their
    windows.
    """
    from unweave.training.trainer import trained

    windows = uw.data.windows(uw.data.mnist("train", root), SIDE, seed=seed)
    recipe = uw.Recipe(
        name="digit",
        data=windows.split(2000)[1] if quick else windows,
        model=lambda: uw.models.of_windows(
            uw.models.counting((SIZE, SIZE), MOST, SIDE, normals=latents)
        ),
        objective=uw.formula("elbo + 50*label"),
        labels={"digit": "digit"},
        epochs=1 if quick else 3,
        batch=100,
        lr=uw.ramp(2e-3, 1e-4, last=1800),
        seed=seed,
    )
    return trained(recipe).state_dict()


def _findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    """The numbers, tables and pictures of a run."""
    assert recipe.test is not None
    test, flags, n = recipe.test, recipe.flags, min(MATCHED, len(recipe.test))
    counter: Any = model.encoder.count
    counted, few = _most_probable(counter, test), test.subset(np.arange(n))
    right, alone = (
        counted == test.factors[:, 0],
        _most_probable(_classifier(recipe), test) == test.factors[:, 0],
    )
    digits = uw.data.mnist("test", flags["data_dir"])
    scenes = uw.data.compose(digits, len(test), size=SIZE, most=MOST, seed=OF_TEST)
    q = model.posterior(few.floats(), seed=recipe.seed)
    numbers, in_windows = _digits_found(q, scenes, counted[:n], flags["mnist"])
    return [
        Number("Count accuracy", *_percent(right), "%", 1),
        Number("By a classifier alone", *_percent(alone), "%", 1),
        *numbers,
        _beside_published(_percent(right), _percent(alone), flags["rate"], flags["mnist"]),
        _windows(model, q, few),
        _generated(model, q),
        _confusion(counted, test),
        in_windows,
    ]


def _most_probable(counter: Callable[[Tensor], Tensor], scenes: uw.data.Data) -> Array:
    """Each scene's count, (n,)."""
    import torch

    with torch.no_grad():
        parts = np.array_split(np.arange(len(scenes)), -(-len(scenes) // 500))
        logits = [counter(torch.as_tensor(scenes.floats(part))) for part in parts]
    return torch.cat(logits).argmax(-1).numpy()


def _classifier(recipe: Recipe) -> nn.Module:
    """The model's network q(count|x), trained as long on the known counts alone."""
    import torch

    known = recipe.data.subset(recipe.data.factors[:, 0] >= 0)
    count = torch.as_tensor(known.factors[:, 0])
    with torch.random.fork_rng(), torch.enable_grad():
        generator = torch.manual_seed(recipe.seed)
        counter: Any = uw.models.counting((SIZE, SIZE), MOST, SIDE).encoder.count
        optimizer = torch.optim.Adam(counter.parameters(), fused=True)
        for step in range(_steps(recipe)):
            items = torch.randint(len(known), (recipe.batch,), generator=generator)
            loss = torch.nn.functional.cross_entropy(
                counter(torch.as_tensor(known.floats(items))), count[items]
            )
            optimizer.param_groups[0]["lr"] = recipe.lr_at(step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module: nn.Module = counter.eval()
    return module


def _steps(recipe: Recipe) -> int:
    return recipe.epochs * (len(recipe.data) // (recipe.batch - recipe.labelled))


def _percent(right: Array, of: int | None = None) -> tuple[float, float]:
    """The share that is true in per cent, of as many, and its standard error."""
    n = of or len(right)
    share = float(right.sum()) / n
    return 100 * share, 100 * float(np.sqrt(share * (1 - share) / n))


def _beside_published(
    ours: tuple[float, float], alone: tuple[float, float], rate: float, mnist: bool
) -> Table:
    def row(known: float, *cells: str | None) -> tuple[str | None, ...]:
        return (f"{known:g}", *PUBLISHED.get(known, (None, None)), *cells)

    mine, classifier = (f"{value:.2f} ± {error:.2f}" for value, error in (ours, alone))
    rows = {known: row(known, None, None, None) for known in PUBLISHED}
    rows[rate] = row(rate, *((None, mine) if mnist else (mine, None)), classifier)
    heads = (
        "counts known",
        "published, without MNIST",
        "with",
        "this run, without MNIST",
        "with",
        "classifier alone",
    )
    note = "Published: mean ± sd, in a table headed 'Count Error (%)' whose values read as accuracy. Ours: one run ± se."
    return Table("Count accuracy, %", heads, [rows[known] for known in sorted(rows)], note)


def _confusion(counted: Array, test: uw.data.Data) -> Table:
    table = np.zeros((MOST + 1, MOST + 1), np.int64)
    np.add.at(table, (test.factors[:, 0], counted), 1)
    heads = ("digits in the scene", *(f"counted {k}" for k in range(MOST + 1)))
    rows: list[Row] = [(str(k), *map(int, row)) for k, row in enumerate(table)]
    return Table(
        "Counts", heads, rows, f"{len(counted):,} test scenes by their most probable count."
    )


def _digits_found(
    q: Trace, scenes: Scenes, counted: Array, named: bool
) -> tuple[list[Number], Table]:
    """Windows matched to boxes, as many as a scene is counted to have, nearest pairs together."""
    from scipy.optimize import linear_sum_assignment

    centres = _centres(q)  # (n, most, 2)
    classes = np.stack([q[f"digit_{k}"].dist.mean.argmax(-1) for k in range(MOST)], 1)  # type: ignore[union-attr]
    truth, pairs = scenes.digit[: len(counted)], []
    for i, (windows, boxes) in enumerate(zip(counted, scenes.count[: len(counted)], strict=True)):
        middles = scenes.corner[i, :boxes] + (BOX - 1) / 2
        far = np.abs(centres[i, :windows, None] - middles).max(-1)  # (windows, boxes)
        pairs += [(i, *pair) for pair in zip(*linear_sum_assignment(far), strict=True)]
    scene, window, box = np.array(pairs, np.int64).reshape(-1, 3).T
    found, digit = classes[scene, window], truth[scene, box]
    names = {c: c for c in range(10)} if named or not pairs else uw.metrics.match(found, digit)
    right = np.array([names.get(c) for c in found]) == digit
    held = _covered(scenes, scene, box, centres[scene, window]) > 0.9
    rows: list[Row] = [
        (
            str(d),
            n := int((truth == d).sum()),
            *(_percent(t[digit == d], n)[0] for t in (held, right)),
        )
        for d in range(10)
    ]
    total = int((truth >= 0).sum())
    by = (
        ""
        if named
        else " Training saw no digit's label: classes are named as agrees best, one to one (Hungarian)."
    )
    note = f"Digits of {len(counted):,} test scenes; windows are matched to boxes by distance, all of a scene at once."
    return [
        Number(
            "Digit accuracy",
            *_percent(right, total),
            "%" if named else "%, classes named by best match",
            1,
        ),
        Number("Digits within their window", *_percent(held, total), "%", 1),
    ], Table(
        "What the windows hold",
        ("digit", "in scenes", "90 % of its ink, %", "named right, %"),
        rows,
        note + by,
    )


def _centres(q: Trace) -> Array:
    """The windows' centres in pixels, row and column, (n, most, 2)."""
    at = np.stack([q[f"where_{k}"].value.numpy() for k in range(MOST)], 1)
    centres: Array = ((at + 1) * SIZE - 1) / 2
    return centres


def _covered(scenes: Scenes, scene: Array, box: Array, centre: Array) -> Array:
    """The share of a box's ink that a window about `centre` (pairs, 2) holds."""
    rows, columns = (scenes.corner[scene, box, axis, None] + np.arange(BOX) for axis in (0, 1))
    ink = scenes.x[scene[:, None, None], rows[:, :, None], columns[:, None, :]].astype(
        float
    )  # (pairs, BOX, BOX)
    held = (
        np.abs(at - c[:, None]) <= SIDE / 2 for at, c in zip((rows, columns), centre.T, strict=True)
    )
    down, across = held
    share: Array = (ink * down[:, :, None] * across[:, None, :]).sum((1, 2)) / ink.sum((1, 2))
    return share


MATCHED = 2000
"""Test scenes whose windows are matched to digits."""

SHOWN = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11)
"""Test scenes in the picture of windows."""


def _windows(model: Model, q: Trace, few: uw.data.Data) -> Picture:
    """Rows: a scene with the frames of its windows, its reconstruction, then each window and what
    is drawn in it.
    """
    import torch

    from unweave.models.counting import lens
    from unweave.models.model import hard

    q, x = q.take(torch.tensor(SHOWN)), torch.as_tensor(few.floats(list(SHOWN)))
    codes, counted = (
        {name: hard(node) for name, node in q.items()},
        hard(q["count"]).argmax(-1).numpy(),
    )
    scenes, centres = _large(x), _centres(q)
    columns = [scenes, _large(model.decode(**codes))]
    for k in range(MOST):
        down, across = lens(q[f"where_{k}"].value, SIDE, (SIZE, SIZE))
        given = uw.Trace.given(**{name: codes[f"{name}_{k}"] for name in ("digit", "style")})
        ink = model.decoder.writer(uw.Trace(), given)  # type: ignore[operator]
        for window in (down @ x @ across.mT, -(-ink).expm1()):
            columns.append(_large(window))
            columns[-1][counted <= k] = np.nan
        for i in np.flatnonzero(counted > k):
            _frame(scenes[i], centres[i, k], FRAMES[k])
    heads = [
        "scene",
        "reconstructed",
        *(f"{what} {k + 1}" for k in range(MOST) for what in ("window", "drawn")),
    ]
    note = "Frames: the first window orange, the second blue, the third green. Windows are shown twice as large."
    rows = [f"counted {n}" for n in counted]
    return Picture("Scenes and their windows", np.stack(columns, 1), rows, heads, note)


def _large(images: Tensor) -> Array:
    """Images (n, h, w) in colour, twice as large, in the middle of as many pixels as a scene has
    then.
    """
    large = images.numpy().repeat(2, 1).repeat(2, 2)
    gap = SIZE - images.shape[-1]
    padded = np.pad(large, ((0, 0), (gap, gap), (gap, gap)))
    return padded[..., None].repeat(3, -1)


def _frame(scene: Array, centre: Array, colour: Array) -> None:
    """Draws the frame of a window about `centre`, in a scene's pixels, into the scene shown twice
    as large.
    """
    first = np.rint(2 * centre + 1 - SIDE).astype(int)
    (top, left), (bottom, right) = (
        first.clip(0, 2 * SIZE - 1),
        (first + 2 * SIDE - 1).clip(0, 2 * SIZE - 1),
    )
    scene[[top, bottom], left : right + 1] = colour
    scene[top : bottom + 1, [left, right]] = colour


def _generated(model: Model, q: Trace, columns: int = 10) -> Picture:
    """Scenes drawn with the count fixed."""
    import torch

    from unweave.models.model import mean

    count = torch.eye(MOST + 1).repeat_interleave(columns, 0)
    drawn = mean(model.decoder(None, q.free(len(count), count=count)))
    return Picture(
        "Scenes drawn with the count fixed",
        drawn.unflatten(0, (MOST + 1, columns)).numpy(),
        rows=[str(k) for k in range(MOST + 1)],
        note="Each step's place, digit and style are drawn from the prior; its places do not know of one another.",
    )
