"""Soft tokens: a language model reads each product as one vector made of its purchases and its text, and re-ranks.

The input is a short instruction in words, then the history and the candidates, each product one token: a map of its
co-occurrence vector and its text vector (`tastemaker.neural.language.soft_tokens`). Twenty purchases and fifty
candidates cost about 80 tokens where titles cost over a thousand, and one pass scores all candidates. A product that
nobody has bought has a text and so a token.

The maps are trained, and the language model as `tuned` says: not at all, by low-rank adapters, or whole; `lm_layers`
takes its first layers only, which a processor can train in minutes. What is learnt from are the last purchases in the
training part, asked with what was known before them (`tastemaker.models.parts.reranking.practice`). A question whose
answer the co-occurrence table lists is asked with the table's places and scores; of the others as many are asked
without, so that tokens must tell. The loss is the cross-entropy over the candidates of a question.

Sources: CoLLM, arXiv 2310.19488 (collaborative vectors mapped to tokens); LLaRA, arXiv 2312.02445 (beside texts, over
candidates); E4SRec, arXiv 2312.02443 (one token a product, scores in one pass). Deviations: text enters as the
encoder's vector, not as words; all candidates stand at one position and do not see each other; the retriever's place,
co-occurrence scores and popularity enter as numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tastemaker.lm.trunk import Tuned, identity_of, local_of, trunk_of
from tastemaker.models.parts.reranking.trained_reranker import TrainedReranker, TrainedRerankerConfig
from tastemaker.models.parts.texts.text_vectors import encoder_or_default
from tastemaker.neural.language.soft_tokens import SoftTokenRanker
from tastemaker.neural.training.schedules import Shape

if TYPE_CHECKING:
    from tastemaker.encoders.base import Encoder
    from tastemaker.lm.base import LanguageModel
    from tastemaker.neural.candidates import Tables

BEFORE = "The shopper bought, oldest first:"
BETWEEN = "\nThe shopper buys next:"


class HybridConfig(TrainedRerankerConfig):
    """Settings of `hybrid`, beyond those of every trained re-ranker.

    Attributes:
        tuned: what of the language model is trained: "none", "lora" (low-rank adapters beside all matrices), "full".
        rank: of the adapters.
        lm_layers: first layers of the language model that are run; None for all. With 0, tokens and evidence speak for
            themselves: what the language model adds can be told.
        dropout: of the map from vectors to tokens.
    """

    tuned: Tuned = "lora"
    rank: int = Field(default=8, ge=1)
    lm_layers: int | None = Field(default=None, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    epochs: int = Field(default=6, ge=1)
    patience: int = Field(default=2, ge=0)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Shape = "linear"
    warmup: int = Field(default=50, ge=0)
    clip: float = Field(default=1.0, ge=0)


class Hybrid(TrainedReranker):
    """Re-ranks candidates with a language model that reads products as soft tokens; needs a retriever before it."""

    name = "hybrid"
    takes = ("encoder", "lm")
    extra = "lm"
    Config = HybridConfig
    config: HybridConfig

    def __init__(
        self,
        *,
        encoder: Encoder | None = None,
        lm: LanguageModel | None = None,
        **settings: Any,  # noqa: ANN401  # see Configurable
    ) -> None:
        super().__init__(encoder=encoder_or_default(encoder), lm=lm, **settings)

    @property
    def base(self) -> str:
        """What pins the language model's pretrained weights."""
        return identity_of(local_of(self.lm, model=self.name))

    def make_network(self, tables: Tables, *, seed: int) -> SoftTokenRanker:
        """Put soft tokens before the first layers of the language model."""
        config = self.config
        trunk = trunk_of(
            local_of(self.lm, model=self.name),
            (BEFORE, BETWEEN),
            layers=config.lm_layers,
            tuned=config.tuned,
            rank=config.rank,
            seed=seed,
        )
        return SoftTokenRanker(trunk, tables, dropout=config.dropout, precision=config.precision)
