r"""Two towers on one sentence encoder that is tuned on purchases: a history's vector lies near the next product's.

Contrastive tuning of a sentence encoder with many negatives (Henderson et al., 2017; Reimers and Gurevych, EMNLP 2019)
on (history, next product). A product's vector $v_j$ is the encoder's of its text: of a transformer, the last
`tuned_layers` layers are trained, and of any encoder a linear map behind it. A history's vector is
$h = M \sum_a w_a v_{j_a}$ over its newest products, with a learnt weight for each step back and a map M from what was
bought to what is next (without it, a printer asks for printers before paper). The score is $\cos(h, v_j)$.

Training begins as `text_knn` on whitened texts (`tastemaker.models.parts.texts.text_maps`), so it learns what to change
in that, and where validation is no better for it, changes nothing. Nobody need have bought j, and another shop's
catalogue is ranked by the same encoder, whitened by its own statistics; what was learnt holds there by
`transfer_strength`.

The loss is cross-entropy of $\cos / \tau$ over a step's products: those of all its histories, its targets, and random
ones of the catalogue. Not taken as negatives are the shopper's own other products and those with the target's text.

What makes it affordable without a GPU: a step runs the layers for `refreshed` products only, each in its turn, and
takes the others' vectors as they were when their turn came (a memory bank: Wu et al., CVPR 2018; Wang et al.,
Cross-Batch Memory, CVPR 2020). So a step's cost does not depend on the length of histories or the number of negatives,
and all that a product has to do with, as target, negative and part of histories, moves it when its turn comes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from pydantic import Field

from tastemaker.configurable import array_text, text_array, under
from tastemaker.encoders import tuned_weights
from tastemaker.encoders.cache import uncached
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError
from tastemaker.models.parts.matrices.similarity import products
from tastemaker.models.parts.texts.text_maps import Maps, Whitened, Whitening
from tastemaker.models.parts.texts.text_pairs import Step, Titles, steps, titles_of
from tastemaker.models.parts.texts.text_towers import Towers, profiles_of, scorer_of
from tastemaker.models.parts.texts.text_vectors import blended, encoder_or_default
from tastemaker.neural.language.sentence_tuning import SentenceLayers
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import Jury
from tastemaker.neural.training.schedules import Shape, TrainingConfig
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
    from tastemaker.types import Bool, Float32, Int32


class TwoTowerConfig(TrainingConfig):
    """Settings of `two_tower`, beyond those of training.

    Attributes:
        tuned_layers: last layers of a transformer encoder that are trained; 0 trains the map behind it alone. Encoders
            of another kind have no layers, and get the map.
        max_tokens: of a text that a transformer reads; the encoder's own limit holds where it is lower.
        max_length: newest purchases of a history.
        recency: weight of a history item for each step back from the newest, before the weights are learnt.
        text_transform: what is done to text vectors before they are mapped: "none", or "whiten".
        text_shrinkage: share of the mean variance in the variance of every direction, before "whiten" divides by it;
            left out, it is d / (d + texts), of vectors with d numbers.
        transfer_strength: how far what was learnt is followed in another shop: 1 as it was learnt, 0 not at all. The
            default did best where each of four shops was left out in turn (benchmarks/accuracy/strength.py).
        wish_weight: weight of a wish in words against the history.
        temperature: what cosines are divided by in training.
        negatives: random products in each step beside those of its pairs.
        refreshed: products that go through the tuned layers in each step; decides what a step costs.
        pairs: of history and next product in an epoch; where there are more, so many are drawn each time.
        batch_size: pairs of a training step.
        learning_rate: of AdamW for the layers; the map moves ten times as fast.
    """

    tuned_layers: int = Field(default=2, ge=0)
    max_tokens: int = Field(default=48, ge=3)
    max_length: int = Field(default=10, ge=1)
    recency: float = Field(default=0.6, gt=0, le=1)
    text_transform: Whitening = "whiten"
    text_shrinkage: float | None = Field(default=None, ge=0, le=1)
    transfer_strength: float = Field(default=0.1, ge=0, le=1)
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
        self._given = uncached(self.encoder)
        if isinstance(self._given, TransformerEncoder) and self._given.arrays():
            raise ConfigError(
                f"{self.name}: the encoder was tuned already; export it, and name the folder in [encoder] folder"
            )
        self._layers: dict[str, NDArray[Any]] = {}
        self._moved = False  # to another shop, with nothing learnt there
        self._course: dict[str, Any] = {}

    @property
    def tuned_encoder(self) -> TransformerEncoder:
        """The encoder with all that was learnt, for any other model, and for `tuned_weights.export`.

        Of joined shops it whitens by the mean of their statistics.

        Raises:
            NotFitted: `fit` or `load` comes first.
            ConfigError: the encoder is no transformer, so there is no encoder that the map could be put into.
        """
        _ = self.items
        if not isinstance(self._given, TransformerEncoder):
            raise ConfigError(
                f"{self.name}: encoder {self.encoder.name!r} has no weights to tune, only a map behind it was trained; "
                'fit with [encoder] model = "transformer"'
            )
        weight, bias = self._maps.behind(self._whitened.pooled(), 0)
        return self._transformer(self._layers, {"map.weight": weight, "map.bias": bias})

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train until validation gets no better, or for as many epochs as the last such fit found best."""
        self._layers = {}
        self._train(train, begun=None, seed=seed, progress=progress)

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Go on training from the present weights; see `Tunable`. A tuning that fails leaves the model as it was."""
        check_tuning(self, train)
        before = dict(vars(self))
        try:
            self.aids, self._items = aids or Aids(), train.items
            self._train(train, begun=self._maps, seed=seed, progress=progress)
        except BaseException:
            vars(self).update(before)
            raise

    def _train(self, train: Dataset, *, begun: Maps | None, seed: int, progress: Progress) -> None:
        """Train from the pretrained encoder, or from weights that were learnt before."""
        config, titles = self.config, titles_of(train.items, model=self.name)
        network, vectors = self._network(titles, begun, progress)
        histories = titles.asked(train.queries())

        def batches(rng: np.random.Generator) -> Iterator[Step]:
            yield from steps(
                histories,
                titles.shops,
                size=config.batch_size,
                most=config.pairs,
                max_length=config.max_length,
                negatives=config.negatives,
                refreshed=min(config.refreshed, len(titles.texts)),
                rng=rng,
            )

        jury, judge = None, None
        if self.aids.validation is not None and self.stops_early:
            jury = Jury.of(self.aids.validation, train, ranks_cold_items=True, seed=seed)
            judge = None if jury.silent else jury.ndcg(lambda: scorer_of(network, titles), max_length=config.max_length)
        course = loop.train(
            network,
            network,
            batches,
            config.course(judged=judge is not None, epochs=self.aids.epochs_for(self._course)),
            seed=seed,
            judge=judge,
            judges_start=True,
            identity=training_identity(
                self.name,
                "fit" if begun is None else "tune",
                repr(config),
                self.encoder.identity(),
                train.fingerprint,
                network=network,
                validation=None if jury is None else jury.questions,
            ),
            **self.aids.of_training(self.name, self._course),
            progress=progress,
        )
        self._course = course.report(not_judged="" if jury is None else jury.silent)
        self._maps, self._moved = network.maps(), False
        if network.layers is not None:
            self._layers = network.layers.weights()
            vectors = self._encode(titles.texts, "document", progress)
        self._rank(titles, vectors)

    def transfer(self, items: Entities) -> None:
        """Rank another shop's catalogue, whitened by its own statistics, with what was learnt at `transfer_strength`.

        A second move, with nothing learnt between, takes away no more of that.

        Raises:
            DataError: no product has a text.
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        titles, strength, before = titles_of(items, model=self.name), self.config.transfer_strength, dict(vars(self))
        try:
            if not self._moved:
                self._maps, self._moved = self._maps.at(strength, recency=self.config.recency), True
                if self._layers:
                    model = self._transformer({}).load()
                    self._layers = tuned_weights.weakened(model, self._layers, strength)
            vectors = plain = self._encode(titles.texts, "document", silent)
            if self._layers:  # whitening is by what the pretrained encoder says, as in training
                plain = self.encoder.encode(titles.texts, kind="document")
            self._items, self._whitened = items, self._whitening(plain, titles)
            self._rank(titles, vectors)
        except BaseException:
            vars(self).update(before)
            raise

    def score(self, queries: Queries) -> Float32:
        """Return cosines, [B, n]; -inf for products without text and for queries without any."""
        profiles, asked = self.query_vectors(queries)
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        scores[asked] = np.where(self.known, products(profiles[asked], self.vectors), -np.inf)
        return scores

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return the profile of each query, [B, d], and whether there is any, [B]; see `Embedding`."""
        profiles = profiles_of(queries, self._maps, self.vectors)
        if queries.texts is not None:
            wishes, written = np.zeros_like(profiles), [row for row, text in enumerate(queries.texts) if text.strip()]
            if written:
                found = self._encode([queries.texts[row] for row in written], "query", silent)
                of_one = np.zeros(len(written), dtype=np.int64)
                wishes[written] = self._maps.of_products(found, of_one, self._whitened.pooled())
            profiles = blended(profiles, wishes, self.config.wish_weight)
        return profiles, (profiles != 0).any(axis=1)

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return the products' vectors, [n, d], and which have a text, [n]."""
        return self.vectors, self.known

    def contributions(self, history: Int32, item: int) -> Float32:
        """Return each history item's share of the cosine with `item`; 0 for those too old to be read."""
        ages, steps_back = self._maps.ages, np.arange(len(history))[::-1]
        weights = np.where(steps_back < len(ages), ages[np.minimum(steps_back, len(ages) - 1)], 0)
        parts = self.vectors[history] * weights[:, None] @ self._maps.onward.T  # [len(history), d]
        length = np.linalg.norm(parts.sum(axis=0))
        return np.asarray(parts @ self.vectors[item] / (length or 1), dtype=np.float32)

    def report(self) -> dict[str, Any]:
        """Return how training went, and what a purchase weighs by its steps back from the newest."""
        ages = self._maps.ages
        return {**self._course, "age_weights": [round(float(weight / ages[0]), 4) for weight in ages]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the products' vectors, [n, d], whitening, maps, the tuned weights, and how training went."""
        learnt = self.encoder.arrays()
        if self._layers:
            learnt = {**self._layers, "base": text_array(self._transformer({}).base_fingerprint)}
        course = {**self._course, "learning_curve": loop.timeless(self._course["learning_curve"])}
        return {
            "vectors": self.vectors,
            "means": self._whitened.means,
            "matrices": self._whitened.matrices,
            "moved": np.array([self._moved]),
            "course": text_array(json.dumps(course)),
            **self._maps.arrays(),
            **{f"encoder.{name}": array for name, array in learnt.items()},
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned; a transformer is loaded when a text is to be encoded, not before."""
        self._maps, self._moved = Maps.from_arrays(arrays), bool(arrays["moved"][0])
        self._maps.ages.reshape(self.config.max_length)
        self._whitened = Whitened(arrays["means"], arrays["matrices"])
        self._course = json.loads(array_text(arrays["course"]))
        learnt = under(arrays, "encoder")
        self._layers = learnt if self._tunes_layers else {}
        if not self._tunes_layers:
            self.encoder.restore(learnt)
        self._set(arrays["vectors"].reshape(len(self.items), -1))

    @property
    def _tunes_layers(self) -> bool:
        return isinstance(self._given, TransformerEncoder) and self.config.tuned_layers > 0

    def _transformer(
        self, layers: dict[str, NDArray[Any]], maps: dict[str, NDArray[Any]] | None = None
    ) -> TransformerEncoder:
        """Return a transformer of our own, as the given one may serve other models: with these weights, if any."""
        settings = cast(TransformerEncoder, self._given).config.model_dump()
        if self._tunes_layers:
            settings["max_length"] = min(self.config.max_tokens, settings["max_length"] or self.config.max_tokens)
        encoder = TransformerEncoder(**settings)
        if layers or maps:
            d = len(self._maps.bias)
            unmapped = {"map.weight": np.eye(d, dtype=np.float32), "map.bias": np.zeros(d, dtype=np.float32)}
            base = text_array(encoder.base_fingerprint)
            encoder.restore({"base": base, **layers, **(maps or unmapped)})
        return encoder

    def _network(self, titles: Titles, begun: Maps | None, progress: Progress) -> tuple[Towers, Float32]:
        """Make the network at its start, and return the vectors of all texts at that point too.

        That is the encoder as it is, the identity as map and weights of age by `recency`, or what was learnt before.
        """
        config, layers = self.config, None
        if self._tunes_layers:
            encoder = self._transformer({})
            model = encoder.load()
            if self._layers:
                tuned_weights.put_layers(model, self._layers)
            layers = SentenceLayers(
                model, titles.texts, tuned=config.tuned_layers, prompt=encoder.prompt("document"), progress=progress
            )
            vectors = layers.start.numpy()
        else:
            if begun is None:
                self.encoder.fit(titles.texts)
            vectors = self._encode(titles.texts, "document", progress)
        if begun is None:
            begun = Maps.unlearnt(vectors.shape[1], max_length=config.max_length, recency=config.recency)
            self._whitened = self._whitening(vectors, titles)
        with torch.random.fork_rng(devices=[]):  # modules draw weights when they are made, though these are overwritten
            towers = Towers(
                vectors, titles.shops, self._whitened, layers=layers, begun=begun, temperature=config.temperature
            )
        return towers, vectors

    def _encode(self, texts: list[str], kind: Kind, progress: Progress) -> Float32:
        """Return unit vectors of texts by the encoder with its layers as they are now, before whitening and maps."""
        encoder = self._transformer(self._layers) if self._layers else self.encoder
        return encoder.encode(texts, kind=kind, progress=progress)

    def _whitening(self, vectors: Float32, titles: Titles) -> Whitened:
        config = self.config
        return Whitened.of(vectors, titles.shops, config.text_transform, shrinkage=config.text_shrinkage)

    def _rank(self, titles: Titles, vectors: Float32) -> None:
        """Rank the items of these texts, zeros for those without, by the vectors of the encoder."""
        mapped = self._maps.of_products(vectors, titles.shops, self._whitened)
        self._set(np.where(titles.of_item[:, None] >= 0, mapped[titles.of_item], 0).astype(np.float32))

    def _set(self, vectors: Float32) -> None:
        self.vectors, self.known = vectors, (vectors != 0).any(axis=1)
