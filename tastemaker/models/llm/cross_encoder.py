"""A sentence encoder that reads history and candidate together, tuned on purchases, re-ranks.

Each pair of a history's titles, newest first, and a candidate's title goes through the encoder as one text, so words
are compared with words; what the encoder says is added to the evidence (the retriever's place, co-occurrence,
popularity, likeness). It is trained on the last purchases in the training part, asked with what was known before them
(`tastemaker.models.parts.reranking.practice`), by the cross-entropy over each question's candidates.

Sources: Nogueira and Cho, arXiv 1901.04085 (pairs through BERT); the listwise softmax of Cao et al., ICML 2007.
Deviations: the score is read from the first state and the mean over the candidate's words; evidence takes part. With
`history_once` the history is read once for all candidates (`tastemaker.neural.language.one_way_reading`), and the state
of the candidate's end stands for the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking
from tastemaker.encoders.cache import uncached
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError
from tastemaker.models.parts.reranking.trained_reranker import TrainedReranker, TrainedRerankerConfig
from tastemaker.neural.devices import Precision
from tastemaker.neural.language.text_pair_ranker import PairRanker, Words
from tastemaker.neural.training.schedules import Shape
from tastemaker.text.render import item_texts

if TYPE_CHECKING:
    from tastemaker.encoders.base import Encoder
    from tastemaker.neural.candidates import Tables


class CrossEncoderConfig(TrainedRerankerConfig):
    """Settings of `cross_encoder`, beyond those of every trained re-ranker.

    Attributes:
        encoder_layers: first layers of the encoder that are run; None for all.
        tuned_layers: how many of these are trained, the last ones; None for all.
        item_tokens: tokens read of a product's text.
        max_tokens: tokens of a pair; the oldest words of the history are left out.
        history_once: whether the history is read by itself, once a question, and candidates are read with an eye on it.
            It is several times quicker; words of the history do not see the candidate then.
        asked_precision: of the arithmetic where lists are asked for: "bfloat16" is quicker on processors with
            matrix tiles (AMX) or AVX512-BF16, and slower on others; None as in training.
    """

    history: int = Field(default=5, ge=1)
    encoder_layers: int | None = Field(default=None, ge=1)
    tuned_layers: int | None = Field(default=None, ge=0)
    item_tokens: int = Field(default=24, ge=1)
    max_tokens: int = Field(default=112, ge=8)
    history_once: bool = False
    asked_precision: Precision | None = None
    negatives: int = Field(default=11, ge=1)
    asked_at_once: int = Field(default=4, ge=1)
    epochs: int = Field(default=3, ge=1)
    patience: int = Field(default=1, ge=0)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Shape = "linear"
    warmup: int = Field(default=100, ge=0)
    clip: float = Field(default=1.0, ge=0)


class CrossEncoder(TrainedReranker):
    """Re-ranks candidates by reading history and candidate together; needs a retriever before it."""

    name = "cross_encoder"
    takes = ("encoder",)
    extra = "text"
    Config = CrossEncoderConfig
    config: CrossEncoderConfig

    def __init__(self, *, encoder: Encoder | None = None, **settings: Any) -> None:  # noqa: ANN401  # see Configurable
        super().__init__(encoder=encoder or TransformerEncoder(), **settings)
        if self.config.item_tokens + 3 >= self.config.max_tokens:
            raise ConfigError(
                f"{self.name}.max_tokens: {self.config.max_tokens}: a product's {self.config.item_tokens} tokens leave "
                "no room for a history"
            )

    @property
    def base(self) -> str:
        """What pins the encoder's pretrained weights."""
        return self._transformer.fingerprint()

    def make_network(self, tables: Tables, *, seed: int) -> PairRanker:
        """Split the products' texts into words and copy the encoder."""
        config, model = self.config, self._transformer.load()
        words = Words.of(model, item_texts(self.items), most=config.item_tokens)
        return PairRanker(
            model,
            words,
            tables,
            layers=config.encoder_layers,
            tuned=config.tuned_layers,
            max_length=config.max_tokens,
            once=config.history_once,
            precision=config.precision,
            asked_precision=config.asked_precision or config.precision,
        )

    def prepare(self) -> None:
        """Put one question, so that nobody waits for what is made at the first."""
        width = min(self.config.candidates, len(self.items))
        asked = Queries.from_lists([[0]])
        items = np.arange(width, dtype=np.int32)[None]
        self.opinions(asked, Ranking(items, -items.astype(np.float32)), purpose="probe")

    @property
    def _transformer(self) -> TransformerEncoder:
        given = None if self.encoder is None else uncached(self.encoder)
        if not isinstance(given, TransformerEncoder):
            name = "none" if given is None else given.name
            raise ConfigError(
                f'{self.name}: needs [encoder] model = "transformer", whose layers can be run; got {name!r}'
            )
        return given
