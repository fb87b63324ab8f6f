"""Topic models: documents as bags of words, whose latents say how much of each topic they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from ..arguments import Positive, Share, Size, Weight
from ..nets import mlp, scale
from ..trace.trace import Trace
from .families import Prior, PriorKind, one_of
from .model import Model, family

Decoding = Literal["words", "gsm", "prodlda"]


class Words(Distribution):
    r"""Words that are drawn one by one; a value (…, V) counts how often each was drawn.

    .. math:: \log p(x) = \sum_v x_v \log π_v

    This is the density of the words in their order. A multinomial adds log n!/∏ x_v!, which does
    not depend on the model.

    Args:
        log_probs: log π, (…, V).
    """

    arg_constraints = {"log_probs": constraints.real_vector}  # noqa: RUF012
    support = constraints.independent(constraints.nonnegative, 1)

    def __init__(self, log_probs: Tensor, validate_args: bool | None = None) -> None:
        self.log_probs = log_probs
        super().__init__(log_probs.shape[:-1], log_probs.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Words:
        return Words(self.log_probs.expand(*batch_shape, *self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.log_probs).sum(-1)

    @property
    def mean(self) -> Tensor:
        """The probability of each word, its expected count in a document of one word."""
        return self.log_probs.exp()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw one word a document, one-hot."""
        one = torch.distributions.OneHotCategorical(logits=self.log_probs, validate_args=False)
        drawn: Tensor = one.sample(torch.Size(sample_shape))
        return drawn


class _Encoder(nn.Module):
    """The program q(z1|x) q(z2|x) …, a site for each block of topics.

    The network reads log(1 + x), scaled to length one. Batch normalisation of means and log-scales
    keeps topics from dying at the start, as in ProdLDA.
    """

    def __init__(
        self, words: int, hidden: Sequence[int], blocks: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.h = nn.Sequential(
            nn.Dropout(dropout), mlp([words, *hidden], nn.Softplus), nn.Softplus(), nn.Dropout(0.1)
        )
        total = sum(blocks)
        self.mean = nn.Sequential(nn.Linear(hidden[-1], total), nn.BatchNorm1d(total))
        self.log_scale = nn.Linear(hidden[-1], total)
        nn.init.constant_(self.log_scale.bias, -1.0)

    def forward(self, x: Tensor) -> Trace:
        q = Trace()
        seen = nn.functional.normalize(x.log1p(), dim=-1)
        h = self.h(math.sqrt(x.shape[-1]) * seen)  # (batch, hidden)
        means = self.mean(h).split(self.blocks, -1)
        log_scales = self.log_scale(h).split(self.blocks, -1)
        for name, mean, log_scale in zip(sites(self.blocks), means, log_scales, strict=True):
            q.normal(mean, scale(log_scale), name=name)
        return q


class Topics(nn.Module):
    r"""Topics as directions among word vectors: a topic's words are those that lie close to it.

    .. math:: \log β_{kv} ∝ s \cos(t_k, w_v) + a \log f_v + c \log r_{kv}

    f are the words' frequencies, and r_kv = softmax_k(s cos(t_k, w_v)) is the share
    of a word that falls to topic k. The exponent c makes topics compete: a word that is close to
    several topics counts less in each, so that their first words differ.

    Such words are few, and most of a document's are none. They come from the topic's background,
    all the corpus' words, of which those that lie closer are more frequent:

    .. math:: \log γ_{kv} ∝ \log f_v + l \cos(t_k, w_v)

    Args:
        words, topics: V and K.
        size: The size of the vectors, D.
        sharpness: s.
        frequent: a. More than 1 makes up for competition, which favours rare words.
        competition: c.
        slow: The learning rate of topics, as a share of that of other weights. The bound alone
            would let topics drift to the words that are everywhere.
        background: The probability that a word comes from the background.
        lean: l, how far the background leans towards the topic.
    """

    vectors: Tensor
    log_frequency: Tensor
    begun: Tensor

    def __init__(
        self,
        words: int,
        topics: int,
        size: int,
        sharpness: float,
        frequent: float,
        competition: float,
        slow: float,
        background: float,
        lean: float,
    ) -> None:
        super().__init__()
        self.sharpness, self.frequent = sharpness, frequent
        self.competition, self.slow = competition, slow
        self.background, self.lean = background, lean
        self.register_buffer("begun", nn.functional.normalize(torch.randn(topics, size), dim=-1))
        self.moved = nn.Parameter(torch.zeros(topics, size))
        self.register_buffer("vectors", nn.functional.normalize(torch.randn(words, size), dim=-1))
        self.register_buffer("log_frequency", torch.full((words,), -math.log(words)))

    @property
    def centres(self) -> Tensor:
        """The topics' directions t, (K, D): where they began, and `slow` times how they moved."""
        return self.begun + self.slow * self.moved

    @property
    def cosines(self) -> Tensor:
        """The cosines of topics and words, (K, V)."""
        return nn.functional.normalize(self.centres, dim=-1) @ self.vectors.T

    def words(self) -> Tensor:
        """Return the probability of each word, be it a topic's own or of its background, (K, V)."""
        cosines = self.cosines
        around = (self.log_frequency + self.lean * cosines).softmax(-1)
        return (1 - self.background) * self._own(cosines).exp() + self.background * around

    def forward(self) -> Tensor:
        """Return log β, (K, V)."""
        return self._own(self.cosines)

    def _own(self, cosines: Tensor) -> Tensor:
        closeness = self.sharpness * cosines
        shared = self.competition * closeness.log_softmax(0)
        often = self.frequent * self.log_frequency
        return (closeness + often + shared).log_softmax(-1)


class _Decoder(nn.Module):
    """The program p(z1) p(z2) … p(x|z), of which θ = softmax(spread z) are the topics' shares."""

    def __init__(
        self,
        words: int,
        blocks: Sequence[int],
        decoding: Decoding,
        spread: float,
        prior: PriorKind,
        size: int,
        sharpness: float,
        frequent: float,
        competition: float,
        slow: float,
        background: float,
        lean: float,
    ) -> None:
        super().__init__()
        self.blocks, self.spread = tuple(blocks), spread
        self.decoding = one_of(Decoding, decoding, "decoding")
        total = sum(blocks)
        self.priors = nn.ModuleList(Prior(prior, n) for n in blocks if prior != "standard")
        if decoding == "words":
            self.topics = Topics(
                words, total, size, sharpness, frequent, competition, slow, background, lean
            )
        else:
            self.logits = nn.Parameter(torch.empty(total, words))
            nn.init.xavier_uniform_(self.logits)
        if decoding == "prodlda":
            self.norm = nn.BatchNorm1d(words, affine=False)

    def log_topics(self) -> Tensor:
        """Return the log-probability of each word in each topic, (K, V)."""
        if self.decoding == "words":
            log_topics: Tensor = self.topics()
            return log_topics
        return self.logits.log_softmax(-1)

    def shares(self, z: Tensor) -> Tensor:
        """Return the share of each topic, (…, K), at latents (…, K)."""
        return (self.spread * z).softmax(-1)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        values = []
        for i, name in enumerate(sites(self.blocks)):
            if len(self.priors):
                values.append(p.sample(self.priors[i](), q[name], name=name))
            else:
                values.append(p.normal(0.0, 1.0, value=q[name], name=name))
        theta = self.shares(torch.cat(values, -1))  # (…, K)
        p.sample(Words(self.log_probs(theta)), x, name="x")
        return p

    def log_probs(self, theta: Tensor) -> Tensor:
        """Return the log-probability of each word, (…, V), where topics have these shares."""
        if self.decoding == "prodlda":
            logits = theta @ self.logits  # (…, V)
            flat = self.norm(logits.flatten(0, -2))
            normed: Tensor = flat.view_as(logits)
            return normed.log_softmax(-1)
        topics = self.topics.words() if self.decoding == "words" else self.log_topics().exp()
        mixed = theta @ topics  # (…, V)
        return mixed.clamp(min=1e-12).log()


def sites(blocks: Sequence[int]) -> list[str]:
    """Return the names of the blocks' latents: "z" for one, "z1", "z2", … for several."""
    return ["z"] if len(blocks) == 1 else [f"z{i + 1}" for i in range(len(blocks))]


@family
def topics(
    shape: Sequence[Size],
    blocks: Sequence[Size] = (50,),
    decoding: Decoding = "words",
    hidden: Sequence[Size] = (200,),
    spread: Positive = 3.0,
    prior: PriorKind = "standard",
    size: Size = 100,
    sharpness: Positive = 8.0,
    frequent: Weight = 2.0,
    competition: Weight = 22.0,
    slow: Weight = 0.02,
    background: Share = 0.7,
    lean: Weight = 4.0,
    dropout: Share = 0.3,
) -> Model:
    r"""Documents as bags of words: Normal latents, of which softmax makes the shares of topics.

    .. math:: p(x, z) = \prod_b p(z_b) \, \prod_v \Big(\sum_k θ_k β_{kv}\Big)^{x_v},
        θ = \mathrm{softmax}(s z)

    Args:
        shape: The number of words, (V,).
        blocks: The number of topics of each block of latents.
        decoding: "words" has topics that are directions among word vectors (`Topics`; see
            `begin_topics`), and a background: a word comes from the corpus with a fixed
            probability, so that topics need not hold what is everywhere (Chemudugunta et al.,
            2006), and the background leans towards the document's topics. "gsm" has free topics,
            softmax over words (Miao et al., 2017). "prodlda" multiplies topics instead of mixing
            them, with batch normalisation of the logits, without which topics collapse (Srivastava
            and Sutton, 2017).
        hidden: Units of the encoder's hidden layers.
        spread: s. The larger, the fewer topics a document has a priori.
        prior: p(z) of a block, standard Normal or learned, see `families.Prior`.
        size: The size of the word vectors.
        sharpness, frequent: Of "words", see `Topics`.
        competition: The exponent by which topics of "words" compete for words; 0 for none.
        slow: The learning rate of topics of "words", as a share of that of other weights.
        background: The probability that a word of "words" comes from the background. If it is
            learned, it grows until documents hardly need topics.
        lean: How far the background of "words" leans towards a document's topics; 0 for one
            background of all documents.
        dropout: The share of words that the encoder does not see, while it is trained.

    Groups: ("z1", "z2", …) of several blocks, ("z",) of one.
    """
    (words,) = shape
    return Model(
        _Encoder(words, hidden, blocks, dropout),
        _Decoder(
            words,
            blocks,
            decoding,
            spread,
            prior,
            size,
            sharpness,
            frequent,
            competition,
            slow,
            background,
            lean,
        ),
    )


def begin_topics(model: Model, vectors: Tensor, frequency: Tensor, centres: Tensor) -> None:
    """Give a model built with decoding="words" its word vectors and the beginnings of its topics.

    Args:
        model: The model, which is changed.
        vectors: The words' vectors, (V, D).
        frequency: The words' frequencies, (V,), which add up to 1.
        centres: Where topics begin, (K, D).
    """
    topics: Any = model.decoder.topics
    with torch.no_grad():
        topics.vectors.copy_(nn.functional.normalize(vectors, dim=-1))
        topics.log_frequency.copy_(frequency.clamp(min=1e-8).log())
        topics.begun.copy_(nn.functional.normalize(centres, dim=-1))
        topics.moved.zero_()
