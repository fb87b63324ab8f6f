"""Tests of topic models: the density of words, blocks, competition, folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import Multinomial

import unweave as uw
from unweave.models.topics import Topics, Words, begin_topics, sites
from unweave.runs import artifact

X = torch.tensor([[2.0, 0, 1, 0, 3, 0], [0, 1, 0, 0, 0, 4], [1, 1, 1, 1, 1, 1]])


def test_words_are_a_multinomial_without_its_coefficient() -> None:
    logits = torch.randn(3, 6, dtype=torch.float64, generator=torch.manual_seed(0))
    x = X.double()
    ours = Words(logits.log_softmax(-1)).log_prob(x)
    for row in range(3):
        n = int(x[row].sum())
        theirs = Multinomial(n, logits=logits[row]).log_prob(x[row])
        coefficient = torch.lgamma(x[row].sum() + 1) - torch.lgamma(x[row] + 1).sum()
        assert ours[row].item() == pytest.approx((theirs - coefficient).item(), abs=1e-10)
    drawn = Words(logits.log_softmax(-1)).sample((5,))
    assert drawn.shape == (5, 3, 6)
    assert torch.equal(drawn.sum(-1), torch.ones(5, 3))


@pytest.mark.parametrize("decoding", ["words", "gsm", "prodlda"])
@pytest.mark.parametrize("prior", ["standard", "learned", "correlated"])
def test_every_decoding_and_prior_trains_and_describes_itself(decoding: str, prior: str) -> None:
    torch.manual_seed(0)
    model = uw.models.topics((6,), (2, 3), decoding=decoding, prior=prior, hidden=(8,), size=4)
    q, p = model(X)
    assert list(q) == ["z1", "z2"]
    assert [q[name].value.shape for name in q] == [(3, 2), (3, 3)]
    uw.hfvae(1, 2, 1)(q, p, aggregate=uw.minibatch(10)).mean().backward()
    used = [w for w in model.parameters() if w.grad is not None]
    assert len(used) >= len(list(model.parameters())) - 1
    model.eval()
    probabilities = model.reconstruct(X)
    assert torch.allclose(probabilities.sum(-1), torch.ones(3), atol=1e-5)
    assert torch.allclose(model.sample(4).sum(-1), torch.ones(4), atol=1e-5)
    assert model.decoder.log_topics().shape == (5, 6)
    assert len(model.units()) == 5


def test_topics_mix_words() -> None:
    model = uw.models.topics((6,), (3,), decoding="gsm", hidden=(8,)).eval()
    theta = torch.tensor([[0.2, 0.3, 0.5]])
    beta = model.decoder.log_topics().exp()
    assert torch.allclose(model.decoder.log_probs(theta).exp(), theta @ beta, atol=1e-6)
    assert sites((50,)) == ["z"]


def test_competing_topics_leave_a_shared_word_to_the_closest() -> None:
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0.1]])
    heavy = []
    for competition in (0.0, 3.0):
        topics = Topics(3, 2, 3, 4.0, 1.0, competition, 1.0, 0.7, 3.0)
        topics.vectors.copy_(torch.nn.functional.normalize(vectors, dim=-1))
        topics.begun.copy_(torch.tensor([[1.0, 0.2, 0], [0.2, 1, 0]]))
        heavy.append(topics().exp()[:, 2])
        assert torch.allclose(topics().exp().sum(-1), torch.ones(2))
    assert (heavy[1] < heavy[0]).all()


def test_a_background_leans_towards_its_topic() -> None:
    torch.manual_seed(0)
    straight, leaning = (Topics(6, 2, 4, 4.0, 1.0, 1.0, 1.0, 0.7, lean) for lean in (0.0, 3.0))
    leaning.load_state_dict(straight.state_dict())
    corpus = straight.log_frequency.exp()
    assert torch.allclose(straight.words(), 0.3 * straight().exp() + 0.7 * corpus)
    assert torch.allclose(leaning.words().sum(-1), torch.ones(2))
    assert torch.equal(leaning(), straight())
    around = leaning.words() - 0.3 * leaning().exp()
    assert torch.equal(around.argsort(-1), leaning.cosines.argsort(-1))


def test_topics_move_slowly() -> None:
    fast, slow = (Topics(6, 2, 4, 4.0, 1.0, 1.0, share, 0.7, 3.0) for share in (1.0, 0.1))
    slow.load_state_dict(fast.state_dict())
    for topics in (fast, slow):
        topics()[0, 0].backward()
    assert torch.allclose(slow.moved.grad, 0.1 * fast.moved.grad, atol=1e-6)


def test_a_model_with_a_start_is_saved_with_its_word_vectors(tmp_path: Path) -> None:
    model = uw.models.topics((6,), (2,), hidden=(8,), size=4)
    begin_topics(model, torch.randn(6, 4), torch.full((6,), 1 / 6), torch.randn(2, 4))
    artifact.save(model.eval(), tmp_path / "model")
    again = artifact.load(tmp_path / "model").eval()
    assert torch.equal(again.decoder.log_topics(), model.decoder.log_topics())
