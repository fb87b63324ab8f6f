"""The report of a run of `counting`: its counts, the digits that it found, and pictures of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import unweave as uw
from unweave.runs.findings import Array, Finding, Number, Picture, Table

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
"""Count accuracy in %, without and with MNIST, by share of known counts (Siddharth et al. 2017)."""

SIZE, MOST, BOX, SIDE = 50, 3, 20, 24
"""Pixels of a scene's side, its digits at most, pixels of the sides of a digit's box and window."""

TEST_SEED = 1_000_000
"""The seed of the test scenes, the same for every run."""

MATCHED = 2000
"""Test scenes whose windows are matched to digits."""

SHOWN = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11)
"""Test scenes in the picture of windows."""

FRAMES = np.array([[0.90, 0.62, 0.0], [0.34, 0.71, 0.91], [0.0, 0.62, 0.45]])
"""The colours of the first, second and third window."""


def findings(
    model: Model, recipe: Recipe, *, rate: float, mnist: bool, data_dir: str | None
) -> Sequence[Finding]:
    """Return the numbers, tables and pictures of a run.

    Args:
        model: The trained model.
        recipe: Its recipe.
        rate: Share of the training scenes whose count is known.
        mnist: True if digits were learned from MNIST first.
        data_dir: Folder that holds the data.
    """
    assert recipe.test is not None
    test = recipe.test
    few = test.subset(np.arange(min(MATCHED, len(test))))
    counter: Any = model.encoder.count
    true, counted = test.factors[:, 0], _most_probable(counter, test)
    ours = _percent(counted == true)
    alone = _percent(_most_probable(_classifier(recipe), test) == true)
    digits = uw.data.mnist("test", data_dir)
    scenes = uw.data.compose(digits, len(test), size=SIZE, most=MOST, seed=TEST_SEED)
    q = model.posterior(few.floats(), seed=recipe.seed)
    numbers, in_windows = _digits_found(q, scenes, counted[: len(few)], mnist)
    return [
        Number("Count accuracy", *ours, "%", 1),
        Number("By a classifier alone", *alone, "%", 1),
        *numbers,
        _beside_published(ours, alone, rate, mnist),
        _windows(model, q, few),
        _generated(model, q),
        _confusion(counted, test),
        in_windows,
    ]


# -- counts ----------------------------------------------------------------------------------------


def _most_probable(counter: Callable[[Tensor], Tensor], scenes: uw.data.Data) -> Array:
    """Return each scene's most probable count, (n,)."""
    import torch

    parts = np.array_split(np.arange(len(scenes)), math.ceil(len(scenes) / 500))
    logits = []
    with torch.no_grad():
        for part in parts:
            x = torch.as_tensor(scenes.floats(part))  # (some, SIZE, SIZE)
            logits.append(counter(x))  # (some, counts)
    return torch.cat(logits).argmax(-1).numpy()


def _classifier(recipe: Recipe) -> nn.Module:
    """Train the model's network q(count|x) as long as the model, on the known counts alone."""
    import torch
    from torch.nn.functional import cross_entropy

    known = recipe.data.subset(recipe.data.factors[:, 0] >= 0)
    count = torch.as_tensor(known.factors[:, 0])
    steps = recipe.epochs * (len(recipe.data) // (recipe.batch - recipe.labelled))
    with torch.random.fork_rng(), torch.enable_grad():
        generator = torch.manual_seed(recipe.seed)
        counter: Any = uw.models.counting((SIZE, SIZE), MOST, SIDE).encoder.count
        optimizer = torch.optim.Adam(counter.parameters(), fused=True)
        for step in range(steps):
            items = torch.randint(len(known), (recipe.batch,), generator=generator)
            x = torch.as_tensor(known.floats(items))
            loss = cross_entropy(counter(x), count[items])
            optimizer.param_groups[0]["lr"] = recipe.lr_at(step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module: nn.Module = counter.eval()
    return module


def _percent(right: Array, total: int | None = None) -> tuple[float, float]:
    """Return how many of `total` are right, in per cent, and the standard error of that."""
    n = total or len(right)
    share = float(right.sum()) / n
    error = float(np.sqrt(share * (1 - share) / n))
    return 100 * share, 100 * error


def _beside_published(
    ours: tuple[float, float], alone: tuple[float, float], rate: float, mnist: bool
) -> Table:
    """Set accuracies of the count beside the published ones, by share of known counts."""
    mine = "{:.2f} ± {:.2f}".format(*ours)
    classifier = "{:.2f} ± {:.2f}".format(*alone)
    this_run = (None, mine, classifier) if mnist else (mine, None, classifier)
    rows: list[Row] = []
    for known in sorted({*PUBLISHED, rate}):
        published = PUBLISHED.get(known, (None, None))
        found = this_run if known == rate else (None, None, None)
        rows.append((f"{known:g}", *published, *found))
    heads = (
        "counts known",
        "published, without MNIST",
        "with",
        "this run, without MNIST",
        "with",
        "classifier alone",
    )
    note = (
        "Published: mean ± sd, in a table headed 'Count Error (%)' whose values read as accuracy. "
        "Ours: one run ± se."
    )
    return Table("Count accuracy, %", heads, rows, note)


def _confusion(counted: Array, test: uw.data.Data) -> Table:
    """Tabulate true counts against counted ones."""
    table = np.zeros((MOST + 1, MOST + 1), np.int64)
    np.add.at(table, (test.factors[:, 0], counted), 1)
    heads = ("digits in the scene", *(f"counted {k}" for k in range(MOST + 1)))
    rows: list[Row] = [(str(k), *map(int, row)) for k, row in enumerate(table)]
    note = f"{len(counted):,} test scenes by their most probable count."
    return Table("Counts", heads, rows, note)


# -- digits in windows -----------------------------------------------------------------------------


def _digits_found(
    q: Trace, scenes: Scenes, counted: Array, named: bool
) -> tuple[list[Number], Table]:
    """Measure which digits are within a window and which are named right.

    Windows are matched to boxes, as many as a scene is counted to have, nearest pairs together.

    Args:
        q: Posterior of the first scenes.
        scenes: The scenes with all that is known of them.
        counted: The first scenes' counts by the model, (n,).
        named: True if training saw labels of digits, so that classes have names.
    """
    centres = _centres(q)  # (n, MOST, 2)
    classes = _classes(q)  # (n, MOST)
    truth = scenes.digit[: len(counted)]  # (n, MOST)
    scene, window, box = _matched(scenes, counted, centres)  # (pairs,) each
    found, digit = classes[scene, window], truth[scene, box]
    names = {c: c for c in range(10)}
    if not named and len(scene):
        names = uw.metrics.match(found, digit)
    right = np.array([names.get(c) for c in found]) == digit
    held = _covered(scenes, scene, box, centres[scene, window]) > 0.9
    total = int((truth >= 0).sum())
    unit = "%" if named else "%, classes named by best match"
    numbers = [
        Number("Digit accuracy", *_percent(right, total), unit, 1),
        Number("Digits within their window", *_percent(held, total), "%", 1),
    ]
    return numbers, _by_digit(truth, digit, held, right, named)


def _matched(scenes: Scenes, counted: Array, centres: Array) -> tuple[Array, Array, Array]:
    """Match windows to boxes; return the pairs' scenes, windows and boxes, (pairs,) each."""
    from scipy.optimize import linear_sum_assignment

    pairs: list[tuple[int, int, int]] = []
    for i, windows in enumerate(counted):
        middles = scenes.corner[i, : scenes.count[i]] + (BOX - 1) / 2  # (boxes, 2)
        apart = centres[i, :windows, None] - middles  # (windows, boxes, 2)
        distance = np.abs(apart).max(-1)  # (windows, boxes)
        for window, box in zip(*linear_sum_assignment(distance), strict=True):
            pairs.append((i, window, box))
    scene, window, box = np.array(pairs, np.int64).reshape(-1, 3).T
    return scene, window, box


def _by_digit(truth: Array, digit: Array, held: Array, right: Array, named: bool) -> Table:
    """Tabulate for each digit how many are within their window, and how many are named right."""
    rows: list[Row] = []
    for d in range(10):
        n = int((truth == d).sum())
        within, _ = _percent(held[digit == d], n)
        correct, _ = _percent(right[digit == d], n)
        rows.append((str(d), n, within, correct))
    note = (
        f"Digits of {len(truth):,} test scenes; windows are matched to boxes by distance, all of a "
        "scene at once."
    )
    if not named:
        note += (
            " Training saw no digit's label: classes are named as agrees best, one to one "
            "(Hungarian)."
        )
    heads = ("digit", "in scenes", "90 % of its ink, %", "named right, %")
    return Table("Digits in the windows", heads, rows, note)


def _classes(q: Trace) -> Array:
    """Return the windows' most probable digits, (n, MOST)."""
    digits = [q[f"digit_{k}"].dist for k in range(MOST)]
    classes: Array = np.stack([dist.mean.argmax(-1) for dist in digits], 1)  # type: ignore[union-attr]
    return classes


def _centres(q: Trace) -> Array:
    """Return the windows' centres in pixels, row and column, (n, MOST, 2)."""
    where = np.stack([q[f"where_{k}"].value.numpy() for k in range(MOST)], 1)
    centres: Array = ((where + 1) * SIZE - 1) / 2
    return centres


def _covered(scenes: Scenes, scene: Array, box: Array, centre: Array) -> Array:
    """Return the share of a box's ink that a window about `centre` (pairs, 2) holds, (pairs,)."""
    corner = scenes.corner[scene, box]  # (pairs, 2)
    rows = corner[:, 0, None] + np.arange(BOX)  # (pairs, BOX)
    columns = corner[:, 1, None] + np.arange(BOX)  # (pairs, BOX)
    drawn = scenes.x[scene[:, None, None], rows[:, :, None], columns[:, None, :]]
    ink = drawn.astype(float)  # (pairs, BOX, BOX)
    down = np.abs(rows - centre[:, 0, None]) <= SIDE / 2
    across = np.abs(columns - centre[:, 1, None]) <= SIDE / 2
    within = ink * down[:, :, None] * across[:, None, :]
    share: Array = within.sum((1, 2)) / ink.sum((1, 2))
    return share


# -- pictures --------------------------------------------------------------------------------------


def _windows(model: Model, q: Trace, few: uw.data.Data) -> Picture:
    """Draw rows: a scene with its windows framed, its reconstruction, each window and its ink."""
    import torch

    from unweave.models.model import hard

    q, x = q.take(torch.tensor(SHOWN)), torch.as_tensor(few.floats(list(SHOWN)))
    codes = {name: hard(node) for name, node in q.items()}
    counted = codes["count"].argmax(-1).numpy()
    scenes, centres = _large(x), _centres(q)
    columns, heads = [scenes, _large(model.decode(**codes))], ["scene", "reconstructed"]
    for k in range(MOST):
        for image in (_read(x, q, k), _drawn(model, codes, k)):
            column = _large(image)
            column[counted <= k] = np.nan
            columns.append(column)
        heads += [f"window {k + 1}", f"drawn {k + 1}"]
        for i in np.flatnonzero(counted > k):
            _frame(scenes[i], centres[i, k], FRAMES[k])
    rows = [f"counted {n}" for n in counted]
    note = (
        "Frames: the first window orange, the second blue, the third green. Windows are shown "
        "twice as large."
    )
    return Picture("Scenes and their windows", np.stack(columns, 1), rows, heads, note)


def _read(x: Tensor, q: Trace, k: int) -> Tensor:
    """Read the k-th window of scenes (n, SIZE, SIZE), (n, SIDE, SIDE)."""
    from unweave.models.scenes import lens

    down, across = lens(q[f"where_{k}"].value, SIDE, (SIZE, SIZE))
    return down @ x @ across.mT


def _drawn(model: Model, codes: dict[str, Tensor], k: int) -> Tensor:
    """Draw the digit of the k-th window, (n, SIDE, SIDE): the probability that a pixel is white."""
    given = uw.Trace.given(digit=codes[f"digit_{k}"], style=codes[f"style_{k}"])
    decoder: Any = model.decoder
    ink: Tensor = decoder.writer(uw.Trace(), given)
    return -(-ink).expm1()


def _large(images: Tensor) -> Array:
    """Return images (n, h, w) in colour, twice as large, in the middle of a scene's canvas."""
    large = images.numpy().repeat(2, 1).repeat(2, 2)
    gap = SIZE - images.shape[-1]
    padded = np.pad(large, ((0, 0), (gap, gap), (gap, gap)))  # (n, 2 SIZE, 2 SIZE)
    return padded[..., None].repeat(3, -1)


def _frame(scene: Array, centre: Array, colour: Array) -> None:
    """Draw a window's frame about `centre`, in a scene's pixels, into the scene twice as large."""
    first = np.rint(2 * centre + 1 - SIDE).astype(int)
    last = first + 2 * SIDE - 1
    edge = 2 * SIZE - 1
    (top, left), (bottom, right) = first.clip(0, edge), last.clip(0, edge)
    scene[[top, bottom], left : right + 1] = colour
    scene[top : bottom + 1, [left, right]] = colour


def _generated(model: Model, q: Trace, columns: int = 10) -> Picture:
    """Draw scenes from the prior with the count fixed."""
    import torch

    from unweave.models.model import mean

    count = torch.eye(MOST + 1).repeat_interleave(columns, 0)  # (counts · columns, counts)
    drawn = mean(model.decoder(None, q.free(len(count), count=count)))
    note = (
        "Each step's place, digit and style are drawn from the prior; its places do not know of "
        "one another."
    )
    return Picture(
        "Scenes drawn with the count fixed",
        drawn.unflatten(0, (MOST + 1, columns)).numpy(),
        rows=[str(k) for k in range(MOST + 1)],
        note=note,
    )
