"""M1+M2: its bound, against a sum over classes by hand."""

import torch
from torch.distributions import Categorical

import unweave as uw
from unweave.models.stacked import on
from unweave.training.trainer import trained


def test_the_bound_is_that_of_the_code_less_its_entropy():
    """log p(x|c) − log q(c|x) + Σ_y q(y|x) (log p(y) − log q(y|x) + the bound of c given y)."""
    torch.manual_seed(0)
    model = uw.models.stacked((4, 3), (7, 6), classes=3, normals=2, code=5, below=(8,))
    model = model.double().eval()
    x = torch.rand(9, 4, 3, dtype=torch.double)
    q, p = model(x)
    assert q["z"].value.shape == (3, 9, 2)
    assert q["code"].value.shape == (9, 5)
    d = uw.Densities(q, p, groups=("y", "z", "code"), aggregate=uw.minibatch(20), kl="sampled")
    given = q["y"].dist.mean  # (items, classes)
    of_classes = (
        p["code"].dist.log_prob(q["code"].value).sum(-1)
        + p["z"].dist.log_prob(q["z"].value).sum(-1)
        - q["z"].dist.log_prob(q["z"].value).sum(-1)
    ).T  # (items, classes)
    uniform = -torch.log(torch.tensor(3.0, dtype=torch.double))
    expected = (
        p["x"].dist.log_prob(x).sum((-2, -1))
        - q["code"].dist.log_prob(q["code"].value).sum(-1)
        + (given * (of_classes + uniform)).sum(-1)
        + Categorical(probs=given).entropy()
    )
    assert torch.allclose(d.score(uw.elbo), expected, atol=1e-10, rtol=0)


def test_the_code_is_that_of_the_vae():
    coder = uw.models.vae((4, 3), (8,), 5)
    model = on(uw.models.stacked((4, 3), (7,), 3, 2, code=5, below=(8,)), coder)
    x = torch.rand(9, 4, 3)
    of_vae = coder.posterior(x)["z"].dist.mean
    assert torch.equal(model.posterior(x)["code"].dist.mean, of_vae)
    trained = [name for name, t in model.named_parameters() if t.requires_grad]
    assert not any(".below." in name for name in trained)


def test_images_are_drawn_from_a_class_and_a_style():
    model = uw.models.stacked((4, 3), (7,), 3, 2, code=5, below=(8,)).eval()
    assert model.sample(6).shape == (6, 4, 3)
    assert model.reconstruct(torch.rand(9, 4, 3)).shape == (9, 4, 3)


def test_training_leaves_the_code_as_it_is():
    coder = uw.models.vae((8, 8), (30,), 5)
    recipe = uw.Recipe(
        name="few",
        data=uw.data.digits().with_labels("digit", 40, seed=0),
        model=lambda: on(uw.models.stacked((8, 8), (20,), normals=2, code=5, below=(30,)), coder),
        objective=uw.elbo + 50 * uw.label,
        groups=("y", "z", "code"),
        labels={"y": "digit"},
        labelled=10,
        batch=100,
        epochs=1,
        logged=0,
    )
    model = trained(recipe)
    for name, t in coder.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[f"below.{name}"], t)
    before = recipe.model().encoder.state_dict()["z.0.weight"]
    assert not torch.equal(model.encoder.state_dict()["z.0.weight"], before)
