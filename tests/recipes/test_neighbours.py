"""Labels that are passed on to neighbours, against matrix powers and on real digits."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from scipy.spatial.distance import cdist

import unweave as uw
from unweave.recipes.neighbours import _swayed, named_by_neighbours, passed_on, steady
from unweave.training.trainer import trained


def blobs(n=60):
    """Three clouds of points, one after the other, and their numbers."""
    generator = np.random.default_rng(0)
    cloud = np.repeat(np.arange(3), n // 3)
    places = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    return places[cloud] + generator.normal(size=(n, 2)), cloud


def few(cloud, each):
    known = np.full_like(cloud, -1)
    for k in range(3):
        known[np.flatnonzero(cloud == k)[:each]] = k
    return known


def test_one_label_names_a_cloud():
    points, cloud = blobs()
    assert (passed_on(points, few(cloud, 1), 3) == cloud).mean() > 0.95


def test_classes_are_those_of_sums_of_matrix_powers():
    points, cloud = blobs()
    known = few(cloud, 2)
    known[5] = 2  # a label that neighbours disagree with
    n, k, keep = len(points), 4, 0.9
    distances = cdist(points, points)
    weights = np.zeros((n, n))
    for i in range(n):
        nearest = [j for j in np.argsort(distances[i]) if j != i][:k]
        for j in nearest:
            weights[i, j] = np.exp(-4 * distances[i, j] ** 2 / distances[i, nearest[-1]] ** 2)
    weights = (weights + weights.T) / 2
    sums = weights.sum(1)
    step = keep * weights / np.sqrt(sums[:, None] * sums)
    one_hot = np.zeros((n, 3))
    one_hot[known >= 0, known[known >= 0]] = 1
    total = sum(np.linalg.matrix_power(step, t) @ one_hot for t in range(201))
    expected = (total / total.sum(0)).argmax(1)
    found = passed_on(points, known, 3, neighbours=k, keep=keep)
    assert (found[known < 0] == expected[known < 0]).all()
    assert (found[known >= 0] == known[known >= 0]).all()


def test_a_classifier_averages_over_what_neighbours_get_wrong():
    """Classes lie apart in the two least of a hundred numbers, where few neighbours are right."""
    generator = np.random.default_rng(0)
    side = generator.integers(0, 2, 3000)
    codes = generator.normal(size=(3000, 100)).astype(np.float32)
    codes[:, 2:] *= 2
    codes[:, :2] += 4 * side[:, None]
    items = uw.data.Data(codes, side[:, None], ("side",), (2,), (("left", "right"),), "sides")
    coder = SimpleNamespace(encode=torch.as_tensor)
    few_known = items.with_labels("side", 100, seed=0)
    before = passed_on(codes, few_known.factors[:, 0], 2)
    after = named_by_neighbours(few_known, coder).factors[:, 0]
    assert (after != side).mean() < 0.5 * (before != side).mean()


def test_a_step_is_about_the_worst_of_its_length():
    """Against all directions in the plane; the step is the best of one gradient."""
    torch.manual_seed(0)
    classifier = torch.nn.Linear(2, 3)
    x = torch.randn(50, 2)
    before = classifier(x).detach().softmax(1)
    turns = torch.linspace(0, 2 * np.pi, 721)
    steps = 0.3 * torch.stack([turns.cos(), turns.sin()], 1)  # (turns, 2)
    after = classifier(x[:, None] + steps).log_softmax(2)  # (items, turns, 3)
    change = (before[:, None] * (before[:, None].log() - after)).sum(2)
    worst = change.max(1).values.mean().item()
    found = _swayed(classifier, x, before, 0.3).item()
    assert change.mean().item() < 0.9 * worst
    assert 0.9 * worst < found <= worst * (1 + 1e-4)


def test_wrong_labels_lose_their_say():
    """A tenth of what was passed on is wrong; a memory of it would have these errors."""
    points, cloud = blobs(3000)
    x = torch.as_tensor(points, dtype=torch.float32)
    named = np.where(np.arange(3000) % 10 == 0, (cloud + 1) % 3, cloud)
    known = np.flatnonzero(np.arange(3000) % 100 == 1)
    classifier = steady(x, torch.as_tensor(named), known, 3, seed=0)
    found = classifier(x).argmax(1).numpy()
    assert (found != cloud).mean() < 0.02


def test_forty_labels_name_most_digits():
    """Codes are of a VAE that is trained without labels."""
    whole = uw.data.digits()
    plain = uw.Recipe(
        name="vae",
        data=whole,
        model=partial(uw.models.vae, (8, 8), (100,), 20),
        objective=uw.elbo,
        batch=100,
        epochs=30,
        logged=0,
    )
    named = named_by_neighbours(whole.with_labels("digit", 40, seed=0), trained(plain))
    assert (named.factors == whole.factors).mean() > 0.8  # 0.1 by chance
