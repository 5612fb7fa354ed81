r"""Free generation, grounded: the language model writes the title of what comes next; real products near it are listed.

The model is not bound to any list, so it may name what does not exist. What it writes is compared with the catalogue as
vectors of an encoder: with distances $D_i$, scaled to 0..1 over the catalogue, and a weight $P_i$ of each product,
scaled alike, products are ranked by $D_i / (1 + P_i)^\gamma$. So no invented product can be listed. $P$ is how often a
product was bought, or what the co-occurrence of the history says; $\gamma$ is chosen on validation questions.

How many answers name no product of the catalogue, before they are grounded, is counted.

Source: BIGRec, arXiv 2308.08434 (generation, then grounding with popularity or collaborative weights). Deviation: the
vectors are those of a sentence encoder instead of the language model's own.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tastemaker import configurable, metrics
from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.ranking import Ranking, sort_lists, top_k
from tastemaker.encoders.cache import uncached
from tastemaker.errors import ConfigError, DataError, LanguageModelError
from tastemaker.lm.base import describe
from tastemaker.models.parts.llm.choosing import Tally, count_failure
from tastemaker.models.parts.matrices.cooccurrence import transition_table
from tastemaker.models.parts.matrices.similarity import on_grid, products
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.models.parts.reranking.mixing import CHOSEN_AT
from tastemaker.models.parts.reranking.practice import RECENCY
from tastemaker.models.parts.reranking.reranker import LEAST_QUESTIONS, without_history
from tastemaker.models.parts.texts.text_vectors import encoder_or_default
from tastemaker.progress import Progress, silent
from tastemaker.recommender import Recommender
from tastemaker.text import parse
from tastemaker.text.prompting.fitting import newest_that_fit
from tastemaker.text.prompting.prompts import NAME_LENGTH, NEXT, next_title
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.encoders.base import Encoder
    from tastemaker.lm.base import LanguageModel, Prompt
    from tastemaker.types import Float32, Float64, Int32

GAMMAS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Exponents tried on validation."""
ASKED = 256
"""Prompts that a model is given at once."""


class GroundedConfig(configurable.Config):
    """Settings of `grounded`.

    Attributes:
        history: newest items of the history that the model sees.
        answer_tokens: most tokens of a written title.
        weighting: P: "popularity", "collaborative" (co-occurrence with the history), or "none".
        gamma: exponent of 1 + P, or "auto" to choose it on validation.
        calibration: validation questions used for the choice.
    """

    history: int = Field(default=10, ge=1)
    answer_tokens: int = Field(default=32, ge=1)
    weighting: Literal["popularity", "collaborative", "none"] = "popularity"
    gamma: float | Literal["auto"] = Field(default="auto", union_mode="left_to_right")
    calibration: int = Field(default=100, ge=LEAST_QUESTIONS)


class Grounded(Recommender):
    """Lists the products nearest to a title that a language model writes freely; the whole catalogue, or candidates."""

    name = "grounded"
    takes = ("encoder", "lm")
    answers_empty_history = True
    ranks_cold_items = True
    reads_wish = True
    Config = GroundedConfig
    config: GroundedConfig

    def __init__(
        self,
        *,
        encoder: Encoder | None = None,
        lm: LanguageModel | None = None,
        **settings: Any,  # noqa: ANN401  # see Configurable
    ) -> None:
        super().__init__(encoder=encoder_or_default(encoder), lm=lm, **settings)
        self.encoder: Encoder
        given = self.config.gamma
        if isinstance(given, float) and given < 0:
            raise ConfigError(f'{self.name}.gamma: {given}: must be at least 0, or "auto"')
        self._counts: Counter[str] = Counter()
        self._choose_nothing()

    @property
    def calibration_size(self) -> int:
        """Validation questions wanted: none when gamma is given, or has nothing to weigh."""
        fixed = self.config.gamma != "auto" or self.config.weighting == "none"
        return 0 if fixed else self.config.calibration

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Read the products' names, and count what the weights want; the model is frozen."""
        if not self.aids.keep_choices:
            self._choose_nothing()
        self._counts.clear()
        names = item_names(train.items)
        vectors = on_grid(self.encoder.fit(names).encode(names, kind="document", progress=progress))
        self._bought = train.popularity.astype(np.float32)
        self._table = transition_table(train.queries(), train.n_items)
        self._take(train.items, vectors)

    def _choose_nothing(self) -> None:
        given = self.config.gamma
        self._gamma = given if isinstance(given, float) else 0.0
        self._trials: list[dict[str, float]] = []
        self._calibration: dict[str, int] = {}

    def score(self, queries: Queries) -> Float32:
        """Return minus the grounded distance of every product from what the model writes, [B, n].

        A row is -inf where the model failed, and so is a product whose name the encoder cannot read.

        Raises:
            ConfigError: there is no language model.
        """
        return self._grounded(queries, self._written(queries, self._counts), self._gamma)

    def calibrate(
        self, validation: Holdout, *, candidates: Ranking | None, seed: int = 0, progress: Progress = silent
    ) -> None:
        """Choose gamma on validation questions (NDCG@10); each is asked once.

        Raises:
            DataError: there are too few questions.
            LanguageModelError: not one question was answered.
        """
        if len(validation) < LEAST_QUESTIONS:
            raise DataError(
                f"{self.name}: {len(validation)} validation questions are too few to choose gamma; "
                f"needs {LEAST_QUESTIONS}, or a fixed gamma"
            )
        counts = Tally.of(self.name)
        written = self._written(validation.queries, counts)
        self._calibration = dict(counts)
        if not written.any():
            raise counts.unanswered()
        self._trials = []
        for gamma in GAMMAS:
            scores = self._grounded(validation.queries, written, gamma)
            if candidates is None:
                ranking = top_k(scores, CHOSEN_AT, exclude=validation.queries)
            else:
                offered = without_history(candidates, validation.queries)
                given = np.where(
                    offered.items < 0, -np.inf, np.take_along_axis(scores, np.maximum(offered.items, 0), 1)
                )
                ranking = sort_lists(offered.items, given.astype(np.float32), CHOSEN_AT)
            found = metrics.per_query(ranking, validation.targets, (CHOSEN_AT,))[f"ndcg@{CHOSEN_AT}"]
            self._trials.append({"gamma": gamma, f"ndcg@{CHOSEN_AT}": float(found.mean())})
        self._gamma = max(self._trials, key=lambda trial: trial[f"ndcg@{CHOSEN_AT}"])["gamma"]

    def _written(self, queries: Queries, counts: Counter[str]) -> Float32:
        """Return the vectors of the titles that the model writes, [B, d]; zeros where it failed, which is counted."""
        if self.lm is None:
            raise ConfigError(f"{self.name}: no [lm] is set; add an [lm] table")
        wishes = queries.texts or ("",) * len(queries)
        prompts = [self._prompt(history, wish, counts) for history, wish in zip(queries, wishes, strict=True)]
        titles: list[str] = []
        for start in range(0, len(prompts), ASKED):
            titles += self._ask(prompts[start : start + ASKED], counts)
        vectors = np.zeros((len(titles), self._vectors.shape[1]), dtype=np.float32)
        said = [row for row, text in enumerate(titles) if text]
        if said:
            own = uncached(self.encoder)  # what was written for a shopper is not kept
            vectors[said] = on_grid(own.encode([titles[row] for row in said], kind="document"))
            read = np.flatnonzero(vectors.any(axis=1))
            counts["no real product"] += sum(titles[row].casefold() not in self._known for row in read)
            if unknown := len(said) - len(read):
                counts["answered"] -= unknown
                counts["failed: no word that the encoder knows"] += unknown
        return vectors

    def _prompt(self, history: Int32, wish: str, counts: Counter[str]) -> Prompt:
        """Return what the model is asked; a history beyond its context loses the older part, which is counted."""
        names = [self._names[item] for item in history[-self.config.history :]]

        def showing(count: int) -> Prompt:
            return next_title(names[len(names) - count :], wish=wish)

        if self.lm is None:
            return showing(len(names))
        shown = newest_that_fit(len(names), showing, self.lm, room=self.config.answer_tokens)
        if shown < len(names):
            counts["shortened to the context"] += 1
        return showing(shown)

    def _ask(self, prompts: Sequence[Prompt], counts: Counter[str]) -> list[str]:
        """Return the titles that are written, "" for a failure; where the model fails, prompts are asked one by one."""
        lm = self.lm
        if lm is None:
            return [""] * len(prompts)
        try:
            answers = lm.generate(prompts, max_tokens=self.config.answer_tokens, stop=("\n",))
        except LanguageModelError as error:
            if len(prompts) > 1:
                return [text for prompt in prompts for text in self._ask([prompt], counts)]
            count_failure(counts, error)
            return [""]
        titles = [parse.title(answer.text, max_length=NAME_LENGTH) for answer in answers]
        for text in titles:
            counts["answered" if text else "failed: unreadable"] += 1
        return titles

    def _grounded(self, queries: Queries, written: Float32, gamma: float) -> Float32:
        """Return -D / (1 + P)^gamma, [B, n]; -inf where nothing was written, and for names that say nothing."""
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        rows, columns = np.flatnonzero(written.any(axis=1)), np.flatnonzero(self._vectors.any(axis=1))
        cosines = products(written[rows], self._vectors[columns]).astype(np.float64)
        distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
        weights = self._weights(queries.take(rows))[:, columns]
        scores[np.ix_(rows, columns)] = -_scaled(distances) / (1 + weights) ** gamma
        return scores

    def _weights(self, queries: Queries) -> Float64:
        """Return P of every product, [B, n], between 0 and 1."""
        if self.config.weighting == "popularity":
            return np.broadcast_to(_scaled(self._bought[None].astype(np.float64)), (len(queries), len(self.items)))
        if self.config.weighting == "collaborative":
            found = queries.matrix(len(self.items), recency=RECENCY) @ self._table
            return _scaled(found.toarray().astype(np.float64))
        return np.zeros((len(queries), len(self.items)))

    def _take(self, items: Entities, vectors: Float32) -> None:
        self._vectors, self._names = vectors, item_names(items)
        self._known = frozenset(parse.title(name, max_length=NAME_LENGTH).casefold() for name in self._names)

    def report(self) -> dict[str, Any]:
        """Return the exponent with its trials, the prompt's identity, and what the model wrote, counted."""
        answered = self._counts["answered"]
        return {
            "gamma": self._gamma,
            "chosen_on_validation": self._trials,
            "prompt": NEXT.identity,
            "language_model": None if self.lm is None else describe(self.lm),
            "counts_on_validation": self._calibration,
            "counts": dict(self._counts),
            "share_without_real_product": self._counts["no real product"] / answered if answered else None,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the names' vectors, counts, the encoder's arrays, and the exponent with its choice."""
        return {
            "vectors": self._vectors,
            "bought": self._bought,
            **arrays_of(self._table, "table"),
            **{f"encoder.{name}": array for name, array in self.encoder.arrays().items()},
            "gamma": np.array([self._gamma]),
            "chosen": text_array(json.dumps({"trials": self._trials, "counts": self._calibration})),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back."""
        n = len(self.items)
        self.encoder.restore(under(arrays, "encoder"))
        self._bought, self._table = arrays["bought"].reshape(n), matrix_of(arrays, "table", (n, n))
        self._gamma = float(arrays["gamma"].reshape(1)[0])
        chosen = json.loads(array_text(arrays["chosen"]))
        self._trials, self._calibration = chosen["trials"], chosen["counts"]
        self._take(self.items, arrays["vectors"].reshape(n, -1))


def _scaled(values: Float64) -> Float64:
    """Return each row moved and stretched to 0..1; zeros where all its values are equal."""
    low, high = values.min(axis=1, keepdims=True, initial=np.inf), values.max(axis=1, keepdims=True, initial=-np.inf)
    spread = np.where(high > low, high - low, 1)
    return np.asarray((values - low) / spread)
