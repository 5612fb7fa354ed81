r"""Two towers on one sentence encoder that is tuned on purchases: a history's vector lies near the next product's.

Contrastive tuning of a sentence encoder with many negatives (Henderson et al., 2017; Reimers and Gurevych, EMNLP 2019)
on (history, next product). A product's vector $v_j$ is the encoder's of its text: of a transformer, the last
`tuned_layers` layers are trained, and of any encoder a linear map behind it, which begins as the identity. A history's
vector is $h = M \sum_a w_a v_{j_a}$ over its newest products, with a learnt weight for each step back and a map M from
what was bought to what is next (without it, a printer asks for printers before paper). The score is $\cos(h, v_j)$.
Nobody need have bought j, and another shop's catalogue is ranked by the same encoder.

The loss is cross-entropy of $\cos / \tau$ over a step's products: those of all its histories, its targets, and random
ones of the catalogue. Not taken as negatives are the shopper's own other products and those with the target's text.

What makes it affordable without a GPU: a step runs the layers for `refreshed` products only, each in its turn, and
takes the others' vectors as they were when their turn came (a memory bank: Wu et al., CVPR 2018; Wang et al.,
Cross-Batch Memory, CVPR 2020). So a step's cost does not depend on the length of histories or the number of negatives,
and all that a product has to do with, as target, negative and part of histories, moves it when its turn comes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field

from tastemaker.configurable import array_text, text_array, under
from tastemaker.encoders import tuned_weights
from tastemaker.encoders.base import unit_rows
from tastemaker.encoders.cache import CachedEncoder
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError
from tastemaker.models.similarity import on_grid, products
from tastemaker.models.text_pairs import Step, Titles, steps, titles_of
from tastemaker.models.text_towers import Towers, profiles_of, scorer_of
from tastemaker.models.text_vectors import blended, encoder_or_default
from tastemaker.neural import training
from tastemaker.neural.identity import training_identity
from tastemaker.neural.judging import Jury
from tastemaker.neural.schedules import Shape, TrainingConfig
from tastemaker.neural.sentence_tuning import SentenceLayers
from tastemaker.progress import silent
from tastemaker.recommender import Aids, Recommender, check_tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.encoders.base import Encoder, Kind
    from tastemaker.progress import Progress
    from tastemaker.types import Float32, Int32


class TwoTowerConfig(TrainingConfig):
    """Settings of `two_tower`, beyond those of training.

    Attributes:
        tuned_layers: last layers of a transformer encoder that are trained; 0 trains the map behind it alone. Encoders
            of another kind have no layers, and get the map.
        max_tokens: of a text that a transformer reads; the encoder's own limit holds where it is lower.
        max_length: newest purchases of a history.
        recency: weight of a history item for each step back from the newest, before the weights are learnt.
        wish_weight: weight of a wish in words against the history.
        temperature: what cosines are divided by in training.
        negatives: random products in each step beside those of its pairs.
        refreshed: products that go through the tuned layers in each step; decides what a step costs.
        pairs: of history and next product in an epoch; where there are more, so many are drawn each time.
        epochs: at most so many.
        patience: judgements without a better validation NDCG@10 before training stops; 0 never stops early.
        judge_every: epochs between two judgements.
        batch_size: pairs of a training step.
        learning_rate: of AdamW for the layers; the map moves ten times as fast.
        weight_decay: of AdamW, on matrices only.
        schedule: the learning rate stays "constant", or falls over `epochs` as "linear" or "cosine".
        warmup: steps over which the learning rate rises from 0.
        clip: largest norm of the gradient; 0 clips nothing.
    """

    tuned_layers: int = Field(default=2, ge=0)
    max_tokens: int = Field(default=48, ge=3)
    max_length: int = Field(default=10, ge=1)
    recency: float = Field(default=0.6, gt=0, le=1)
    wish_weight: float = Field(default=0.5, ge=0, le=1)
    temperature: float = Field(default=0.05, gt=0)
    negatives: int = Field(default=8192, ge=0)
    refreshed: int = Field(default=128, ge=1)
    pairs: int = Field(default=131_072, ge=1)
    epochs: int = Field(default=8, ge=1)
    patience: int = Field(default=3, ge=0)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    schedule: Shape = "linear"
    warmup: int = Field(default=20, ge=0)


class TwoTower(Recommender):
    """Recommends what lies near the history in the space of an encoder that was tuned on purchases."""

    name = "two_tower"
    because = "bought by those who bought what is described like"
    takes = ("encoder",)
    extra = "neural"
    ranks_cold_items = True
    reads_wish = True
    Config = TwoTowerConfig
    config: TwoTowerConfig

    def __init__(self, *, encoder: Encoder | None = None, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(encoder=encoder_or_default(encoder), **settings)
        self.encoder: Encoder
        self.stops_early = bool(self.config.patience)
        self._tuned = self._untuned()
        self._course: dict[str, Any] = {}

    @property
    def tuned_encoder(self) -> TransformerEncoder:
        """The encoder after tuning, for any other model, and for `tuned_weights.export`.

        Raises:
            NotFitted: `fit` or `load` comes first.
            ConfigError: the encoder is no transformer, so there is no encoder that the map could be put into.
        """
        _ = self.items
        if self._tuned is None:
            raise ConfigError(
                f"{self.name}: encoder {self.encoder.name!r} has no weights to tune, only a map behind it was trained; "
                'fit with [encoder] model = "transformer"'
            )
        return self._tuned

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train until validation gets no better, or for as many epochs as the last such fit found best."""
        self._train(train, start=None, seed=seed, progress=progress)

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Go on training from the present weights; see `Tunable`."""
        check_tuning(self, train)
        self.aids, self._items = aids or Aids(), train.items
        layers = {} if self._tuned is None else self._tuned.arrays()
        start = {**layers, **self._map, "onward": self._onward, "ages": self._ages}
        self._train(train, start=start, seed=seed, progress=progress)

    def _train(self, train: Dataset, *, start: dict[str, NDArray[Any]] | None, seed: int, progress: Progress) -> None:
        """Train from the pretrained encoder, or from weights that were learnt before."""
        config, titles = self.config, titles_of(train.items, model=self.name)
        self._tuned = self._untuned()
        network = self._network(titles, start, progress)
        histories = titles.asked(train.queries())

        def batches(rng: np.random.Generator) -> Iterator[Step]:
            yield from steps(
                histories,
                len(titles.texts),
                size=config.batch_size,
                most=config.pairs,
                max_length=config.max_length,
                negatives=config.negatives,
                refreshed=min(config.refreshed, len(titles.texts)),
                rng=rng,
            )

        before = self._course if self.aids.keep_choices else {}
        jury, judge = None, None
        if self.aids.validation is not None and self.stops_early:
            jury = Jury.of(self.aids.validation, train, ranks_cold_items=True, seed=seed)
            judge = None if jury.silent else jury.ndcg(lambda: scorer_of(network, titles), max_length=config.max_length)
        course = training.train(
            network,
            network,
            batches,
            config.course(judged=judge is not None, epochs=before.get("best_epoch", 0)),
            seed=seed,
            judge=judge,
            checkpoint=self.aids.checkpoint(self.name),
            identity=training_identity(
                self.name,
                "tune" if start else "fit",
                repr(config),
                self.encoder.identity(),
                train.fingerprint,
                network=network,
                validation=None if jury is None else jury.questions,
            ),
            device=self.aids.device,
            threads=before.get("threads", "measure") if self.aids.threads == "measure" else self.aids.threads,
            on_epoch=self.aids.listener(self.name),
            progress=progress,
        )
        self._course = course.report(not_judged="" if jury is None else jury.silent)
        with torch.inference_mode():
            self._ages = network.age_weights().numpy().astype(np.float32)
            self._map = {name: value.numpy() for name, value in network.plain_maps().items()}
            self._onward = self._map.pop("onward")
        if self._tuned is not None:
            layers = {} if network.layers is None else network.layers.weights()
            base = text_array(self._tuned.base_fingerprint)
            self._tuned.restore({**self._map, **layers, "base": base})
        self._set(self._item_vectors(train.items, progress))

    def transfer(self, items: Entities) -> None:
        """Encode another shop's catalogue with the encoder as it was tuned.

        Raises:
            DataError: no product has a text.
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        vectors = self._item_vectors(items, silent)
        self._items = items
        self._set(vectors)

    def score(self, queries: Queries) -> Float32:
        """Return cosines, [B, n]; -inf for products without text and for queries without any."""
        profiles = profiles_of(queries, self._ages, self.vectors, self._onward)
        if queries.texts is not None:
            wishes, written = np.zeros_like(profiles), [row for row, text in enumerate(queries.texts) if text.strip()]
            if written:
                wishes[written] = self._encode([queries.texts[row] for row in written], "query", silent)
            profiles = blended(profiles, wishes, self.config.wish_weight)
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        asked = np.flatnonzero(profiles.any(axis=1))
        scores[asked] = np.where(self.known, products(profiles[asked], self.vectors), -np.inf)
        return scores

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return each history item's share of the cosine with `item`; 0 for those too old to be read."""
        ages = np.arange(len(history))[::-1]
        weights = np.where(ages < len(self._ages), self._ages[np.minimum(ages, len(self._ages) - 1)], 0)
        parts = self.vectors[history] * weights[:, None] @ self._onward.T  # [len(history), d]
        length = np.linalg.norm(parts.sum(axis=0))
        return np.asarray(parts @ self.vectors[item] / (length or 1), dtype=np.float32)

    def report(self) -> dict[str, Any]:
        """Return how training went, and what a purchase weighs by its steps back from the newest."""
        weights = [round(float(weight), 4) for weight in self._ages / self._ages[0]]
        return {**self._course, "age_weights": weights}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the products' vectors, [n, d], the weights of age, the tuned weights, and how training went."""
        learnt = (self._tuned or self.encoder).arrays()
        course = {**self._course, "learning_curve": training.timeless(self._course["learning_curve"])}
        return {
            "vectors": self.vectors,
            "ages": self._ages,
            "onward": self._onward,
            "course": text_array(json.dumps(course)),
            **self._map,
            **{f"encoder.{name}": array for name, array in learnt.items()},
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned; a transformer is loaded when a text is to be encoded, not before."""
        self._ages, self._onward = arrays["ages"].reshape(self.config.max_length), arrays["onward"]
        self._map = {name: arrays[name] for name in ("map.weight", "map.bias")}
        self._course = json.loads(array_text(arrays["course"]))
        (self._tuned or self.encoder).restore(under(arrays, "encoder"))
        self._set(arrays["vectors"].reshape(len(self.items), -1))

    def _untuned(self) -> TransformerEncoder | None:
        """Return a transformer of our own to tune, as the given one may serve other models; None for other encoders."""
        given = self.encoder.encoder if isinstance(self.encoder, CachedEncoder) else self.encoder
        if not isinstance(given, TransformerEncoder):
            return None
        if given.arrays():
            raise ConfigError(
                f"{self.name}: the encoder was tuned already; export it, and name the folder in [encoder] folder"
            )
        limit = min(self.config.max_tokens, given.config.max_length or self.config.max_tokens)
        return TransformerEncoder(**{**given.config.model_dump(), "max_length": limit})

    def _network(self, titles: Titles, start: dict[str, NDArray[Any]] | None, progress: Progress) -> Towers:
        """Make the network at its start.

        That is the encoder as it is, the identity as map and weights of age by `recency`, or what `start` says of them.
        """
        layers = None
        if self._tuned is None or not self.config.tuned_layers:
            encoder = self._tuned or (self.encoder if start else self.encoder.fit(titles.texts))
            vectors = torch.from_numpy(encoder.encode(titles.texts, kind="document", progress=progress))
        else:
            model = self._tuned.load()
            if start:
                tuned_weights.put_layers(model, start)
            layers = SentenceLayers(
                model,
                titles.texts,
                tuned=self.config.tuned_layers,
                prompt=self._tuned.prompt("document"),
                progress=progress,
            )
            vectors = layers.start
        with torch.random.fork_rng(devices=[]):  # modules draw weights when they are made, though these are overwritten
            config = self.config
            towers = Towers(
                vectors,
                layers,
                max_length=config.max_length,
                recency=config.recency,
                temperature=config.temperature,
            )
        if start:
            towers.begin(start)
        return towers

    def _encode(self, texts: list[str], kind: Kind, progress: Progress) -> Float32:
        """Return unit vectors of texts after tuning, on the grid."""
        if self._tuned is not None:
            return on_grid(self._tuned.encode(texts, kind=kind, progress=progress))
        vectors = self.encoder.encode(texts, kind=kind, progress=progress)
        said = vectors.any(axis=1, keepdims=True)  # a text without any known word stays without opinion
        mapped = products(on_grid(vectors), on_grid(self._map["map.weight"])) + self._map["map.bias"]
        return on_grid(unit_rows(np.where(said, mapped, 0)))

    def _item_vectors(self, items: Entities, progress: Progress) -> Float32:
        """Return the vector of each item's text, zeros where it has none."""
        titles = titles_of(items, model=self.name)
        vectors = self._encode(titles.texts, "document", progress)
        return np.where(titles.of_item[:, None] >= 0, vectors[titles.of_item], 0).astype(np.float32)

    def _set(self, vectors: Float32) -> None:
        self.vectors, self.known = vectors, vectors.any(axis=1)
