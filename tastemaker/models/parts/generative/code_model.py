"""What models over item identifiers share: making them, training on histories, products that come later, saving.

A model file adds its network, the loss of a batch of histories, and how lists are made. Products that nobody has bought
can be ranked where identifiers say something of them (texts); the others are left out.
"""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tastemaker.configurable import array_text, text_array, under
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.generative.item_codes import ItemCodeConfig, ItemCodes
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.models.parts.texts.text_vectors import encoder_or_default
from tastemaker.neural import devices
from tastemaker.neural.arrays import take_weights, weights_of
from tastemaker.neural.batches import Batch, batch_of, by_length, windows
from tastemaker.neural.blocks import initialise
from tastemaker.neural.indexing.starts import code_means
from tastemaker.neural.indexing.usage import staleness, usage
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import Jury
from tastemaker.progress import silent
from tastemaker.recommender import Recommender
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.encoders.base import Encoder
    from tastemaker.neural.indexing.semantic_ids import SemanticIds
    from tastemaker.neural.training.judging import Scores
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32


class CodeModelConfig(ItemCodeConfig, loop.TrainingConfig):
    """Settings of every model over item identifiers, beyond those of the identifiers and of training.

    Attributes:
        dim: length of code vectors and states.
        layers: of the network.
        heads: of attention.
        dropout: inside the network.
        max_length: newest purchases that are read; training reads a longer history in windows of so many.
        start: code vectors begin at the mean "cooccurrence" vector of their items, or at "random".
        judged: validation questions, drawn at random, that may end training.
    """

    dim: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    start: Literal["cooccurrence", "random"] = "cooccurrence"
    judged: int = Field(default=10_000, ge=1)


class CodeModel(Recommender):
    """A recommender that reads and forecasts the codes of products."""

    takes = ("encoder",)
    extra = "indexing"
    ranks_cold_items = True  # with schemes that read texts
    Config = CodeModelConfig
    config: Any  # CodeModelConfig, or a subclass with the network's own settings

    _codes: ItemCodes
    _network: nn.Module
    _bought: Bool  # items that somebody has bought, [n]
    _learnt_from: tuple[Int32, Int32] | None
    _course: dict[str, Any]

    def __init__(self, *, encoder: Encoder | None = None, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(encoder=encoder, **settings)
        if self.config.reads_texts:
            self.encoder = encoder_or_default(encoder)
        self.ranks_cold_items = self.config.reads_texts or self.config.scheme == "text"
        self.stops_early = bool(self.config.patience)
        self._course, self._learnt_from = {}, None

    @abstractmethod
    def _make_network(self) -> nn.Module:
        """Return the network for the identifiers that were made, its weights undrawn."""

    @abstractmethod
    def _loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the histories' next items."""

    @abstractmethod
    def _scorer(self) -> Scores:
        """Return what scores queries on the network's device under the present weights."""

    @abstractmethod
    def _read_codes(self) -> None:
        """Give the network the identifiers of the catalogue."""

    def _renumber(self, before: NDArray[np.int64]) -> None:
        """Give the network's items, if it has any of their own, other numbers: those they had `before`, -1 for new."""

    @property
    def ids(self) -> SemanticIds:
        """The identifiers of the catalogue.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        return self._codes.ids

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Make identifiers, then train until validation gets no better.

        Raises:
            DataError: no shopper has two purchases, or texts are to be read and there are none.
            ConfigError: there are more items than identifiers.
        """
        if train.queries().lengths.max(initial=0) < 2:
            raise DataError(
                f"{self.name}: no shopper has 2 purchases in the training part, so there is no order to learn; "
                "use popular or text_knn"
            )
        self._codes = ItemCodes.of(train, self.config, self.encoder, model=self.name, seed=seed, progress=progress)
        self._bought = train.bought
        log = train.log
        self._learnt_from = (log["user"].to_numpy(), log["item"].to_numpy()) if self.config.reads_purchases else None
        with torch.random.fork_rng(devices=[]):  # modules draw weights from the global generator when they are made
            torch.manual_seed(seed)
            self._network = self._make_network()
        initialise(self._network, generator=torch.Generator().manual_seed(seed))
        if self.config.start == "cooccurrence":
            vectors = cooccurrence.vectors(train.queries(), train.n_items, self.config.dim, seed=seed)
            self._start(code_means(self._codes.ids, vectors))
        self._read_codes()
        self._train(train, seed=seed, progress=progress)

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return the purchases that identifiers were made from; see `Traceable`."""
        return {} if self._learnt_from is None else {"identifiers": self._learnt_from}

    def transfer(self, items: Entities) -> None:
        """Rank another catalogue: the same shop's with new products, or another shop's. Nothing is learnt.

        Products with the id and the name of a known one keep its identifier; the others get theirs from their text.
        A transfer that fails leaves the model as it was.

        Raises:
            ConfigError: identifiers say nothing of new products.
            NotFitted: `fit` or `load` comes first.
        """
        old = self.items
        if not self.ranks_cold_items:
            raise ConfigError(
                f'{self.name}: scheme = "{self.config.scheme}" says nothing of new products; '
                'use "residual" or "product" with source = "text" or "both", or "text"'
            )
        known = {pair: number for number, pair in enumerate(zip(old.frame["id"], item_names(old), strict=True))}
        now = zip(items.frame["id"], item_names(items), strict=True)
        before = np.array([known.get(pair, -1) for pair in now], dtype=np.int64)
        codes = self._codes.moved_to(items, before, self.encoder, model=self.name, progress=silent)
        was = dict(vars(self))
        try:
            self._network = copy.deepcopy(self._network)  # which is changed in place
            self._bought = np.where(before >= 0, self._bought[before], False)
            self._codes, self._items = codes, items
            self._renumber(before)
            self._read_codes()
        except BaseException:
            vars(self).update(was)
            raise

    def report(self) -> dict[str, Any]:
        """Return how training went, and facts about the identifiers."""
        found = dict(self._course)
        if self._items is not None:
            found["identifiers"] = usage(self._codes.ids)
            if (self._codes.ids.born > 0).any():
                found["staleness"] = staleness(self._codes.ids)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, identifiers, what is known of items, encoder, and how training went (without times)."""
        found = weights_of(self._network)
        found |= {f"codes.{name}": array for name, array in self._codes.arrays().items()} | {"bought": self._bought}
        course = {name: value for name, value in self._course.items() if name != "threads"}
        course["learning_curve"] = loop.timeless(course["learning_curve"])
        found["course"] = text_array(json.dumps(course))
        if self.config.reads_texts and self.encoder is not None:
            found |= {f"encoder.{name}": array for name, array in self.encoder.arrays().items()}
        return found

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back."""
        n = len(self.items)
        self._codes = ItemCodes.restored(self.config, under(arrays, "codes"))
        if len(self._codes.ids) != n:
            raise ValueError(f"{len(self._codes.ids)} identifiers for {n} items")
        self._bought = arrays["bought"].reshape(n)
        self._course = json.loads(array_text(arrays["course"]))
        self._network = self._make_network()
        take_weights(self._network, arrays)
        if self.config.reads_texts and self.encoder is not None:
            self.encoder.restore(under(arrays, "encoder"))
        self._network.eval()
        self._read_codes()

    def _start(self, vectors: Float32) -> None:
        """Begin with these vectors of the codes of all levels, [vocabulary, dim]."""
        tokens = self._network.get_parameter("tokens.weight")
        tokens.data[: len(vectors)] = torch.from_numpy(vectors)

    @property
    def _rankable(self) -> Bool:
        """Items that somebody has bought or that identifiers say something of, [n]."""
        return self._bought | self._codes.described

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    def _train(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        checkpoint = self.aids.checkpoint(self.name)
        longest = self.config.max_length + 1  # the oldest of them is read, the newest is only forecast
        histories = windows(train.queries(), longest, shared=1)
        rows = np.flatnonzero(histories.lengths > 1)
        lengths = np.minimum(histories.lengths[rows], longest)

        def batches(rng: np.random.Generator) -> Iterator[Batch]:
            for group in by_length(lengths, self.config.batch_size, rng):
                yield batch_of(histories, rows[group], longest, device=self.aids.device)

        jury, judge = self._jury(train, seed=seed), None
        if jury is not None and not jury.silent:
            judge = jury.ndcg(self._scorer, max_length=self.config.max_length)
        facts = (self.name, repr(self.config), train.fingerprint, self._codes.ids.digest)
        course = loop.train(
            self._network,
            self._loss,
            batches,
            self.config.course(judged=judge is not None, epochs=self.aids.epochs_for(self._course)),
            seed=seed,
            judge=judge,
            identity=training_identity(*facts, network=self._network, validation=self.aids.validation)
            if checkpoint
            else "",
            **self.aids.of_training(self.name, self._course),
            progress=progress,
        )
        self._course = {
            "best_epoch": course.best_epoch,
            "learning_curve": course.curve,
            "threads": course.threads,
            **({} if jury is None or judge is not None else {"not_judged": jury.silent}),
        }
        self._network.to(devices.device_of(self.aids.device)).eval()  # lists are made where the network was trained

    def _jury(self, train: Dataset, *, seed: int) -> Jury | None:
        """Return the questions that may end training, if there shall be any."""
        if self.aids.validation is None or not self.stops_early:
            return None
        asked = self.aids.validation.sample(self.config.judged, seed=seed)
        return Jury.of(asked, train, ranks_cold_items=self.ranks_cold_items, seed=seed)


def shifted(batch: Batch) -> tuple[Batch, Tensor]:
    """Return histories without their newest item, and the item that follows each place, int64 [b, L - 1]."""
    return replace(batch, items=batch.items[:, :-1], lengths=batch.lengths - 1), batch.items[:, 1:]


def seen_of(queries: Queries, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the items of histories as a table filled up with -1, int64 [b, h]."""
    asked = queries.take(rows)
    lengths = asked.lengths
    table = np.full((len(rows), int(lengths.max(initial=0))), -1, dtype=np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = asked.items
    return table
