"""What all sequence models share: item inputs, training on every place of a history, early stop, scores.

A model file adds its layers: from embedded histories [b, L, d] to states [b, L, d], each state the forecast of the next
item. Scores are inner products of the last state with the item table.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from tastemaker.configurable import array_text, text_array, under
from tastemaker.models import cooccurrence
from tastemaker.models.text_vectors import encoder_or_default, item_vectors
from tastemaker.neural import losses, training
from tastemaker.neural.batches import Batch, batch_of, by_length
from tastemaker.neural.blocks import initialise
from tastemaker.neural.item_inputs import ItemInputConfig, ItemInputs
from tastemaker.neural.judging import ASKED, Jury
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


class SequenceConfig(ItemInputConfig, losses.LossConfig, training.TrainingConfig):
    """Settings of every sequence model, beyond those of its item vectors, its loss and its training.

    Attributes:
        layers: of the network.
        dropout: of embedded histories and inside the network.
        max_length: newest purchases that are read.
        start: item vectors begin at factorised co-occurrence counts, or at random.
    """

    layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    start: Literal["cooccurrence", "random"] = "cooccurrence"


class AttentiveConfig(SequenceConfig):
    """Settings of a sequence model with attention, beyond those of every sequence model.

    Attributes:
        heads: of attention; must divide `dim`.
    """

    heads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}")
        return self


class SequenceNetwork(nn.Module):
    """Item table, places counted from the newest item, and layers."""

    def __init__(self, inputs: ItemInputs, layers: nn.Module, config: SequenceConfig) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = layers
        self.places = nn.Embedding(config.max_length, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, table: Tensor, batch: Batch) -> Tensor:
        """Return the forecast at each place of each history, [b, L, d]."""
        embedded = nn.functional.embedding(batch.items, table) + self.places(batch.ages)
        states: Tensor = self.layers(self.dropout(embedded))
        return states


class SequenceModel(Recommender):
    """A recommender that reads a history in order."""

    takes = ("encoder",)
    extra = "neural"
    Config = SequenceConfig
    config: Any  # SequenceConfig, or a subclass with the layers' own settings

    _network: SequenceNetwork
    _table: Tensor
    _course: dict[str, Any]

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(**settings)
        self.ranks_cold_items = self.config.inputs != "id"  # texts make vectors for items that nobody has bought
        self.stops_early = bool(self.config.patience)
        self._course = {}

    @abstractmethod
    def layers(self) -> nn.Module:
        """Return the layers between embedded histories and forecasts, [b, L, d] -> [b, L, d]."""

    @property
    def learnt_length(self) -> int:
        """Newest purchases of a history that training uses: the last of them is only a target."""
        return int(self.config.max_length) + 1

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train until validation gets no better, or for as many epochs as the last such fit found best."""
        before = self._course if self.aids.keep_choices else {}
        histories = train.queries()
        self._build(train.n_items, self._texts(train, progress), seed=seed)
        self._start(train, seed=seed)
        rows = np.flatnonzero(histories.lengths > 1)
        lengths = np.minimum(histories.lengths[rows], self.learnt_length)

        def batches(rng: np.random.Generator) -> Iterator[Batch]:
            for group in by_length(lengths, self.config.batch_size, rng):
                yield batch_of(histories, rows[group], self.learnt_length, device=self.aids.device)

        item_loss = losses.loss_of(self.config, train.n_items)
        jury, judge = self._jury(train, seed=seed), None
        if jury is not None and not jury.silent:
            judge = jury.ndcg(self._scorer, max_length=self.config.max_length)
        course = training.train(
            self._network,
            lambda batch: self._loss(batch, item_loss),
            batches,
            self.config.course(judged=judge is not None, epochs=before.get("best_epoch", 0)),
            seed=seed,
            judge=judge,
            checkpoint=self.aids.checkpoint(self.name),
            identity=f"{self.name} {self.config!r} {train.fingerprint}",
            device=self.aids.device,
            threads=before.get("threads", "measure") if self.aids.threads == "measure" else self.aids.threads,
            on_epoch=self.aids.listener(self.name),
            progress=progress,
        )
        self._course = {
            "best_epoch": course.best_epoch,
            "learning_curve": course.curve,
            "loss": losses.loss_name(self.config, train.n_items),
            "threads": course.threads,
            **({} if jury is None or judge is not None else {"not_judged": jury.silent}),
        }
        with torch.inference_mode():
            self._table = self._network.inputs().clone()

    def score(self, queries: Queries) -> Float32:
        """Return the inner product of each history's forecast with every item; no opinion without a history."""
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            for rows in by_length(np.minimum(queries.lengths, self.config.max_length), ASKED):
                known = rows[queries.lengths[rows] > 0]
                if len(known):
                    scores[known] = (self._forecasts(queries, known, self._table) @ self._table.t()).numpy()
        return scores

    def report(self) -> dict[str, Any]:
        """Return how training went."""
        return dict(self._course)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the network's weights, the item table, and how training went."""
        weights = {f"network.{name}": value.numpy() for name, value in self._network.state_dict().items()}
        return {**weights, "table": self._table.numpy(), "course": text_array(json.dumps(self._course))}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back; texts are not needed any more, as the table holds what was made of them."""
        width = ItemInputs.text_width(under(arrays, "network.inputs"))
        texts = np.zeros((len(self.items), width), dtype=np.float32) if width else None
        self._network = self._make_network(len(self.items), texts)
        weights = {name: torch.from_numpy(value) for name, value in under(arrays, "network").items()}
        try:
            self._network.load_state_dict(weights)
        except RuntimeError as error:  # a weight is missing or has another shape
            raise ValueError(str(error)) from error
        self._network.eval()
        self._table = torch.from_numpy(arrays["table"].reshape(len(self.items), self.config.dim))
        self._course = json.loads(array_text(arrays["course"]))

    def _texts(self, train: Dataset, progress: Progress) -> Float32 | None:
        if self.config.inputs == "id":
            return None
        encoder = encoder_or_default(self.encoder)
        return item_vectors(train.items, encoder, model=self.name, progress=progress)

    def _build(self, n_items: int, texts: Float32 | None, *, seed: int) -> None:
        """Make the network with weights drawn by seed."""
        with torch.random.fork_rng(devices=[]):  # modules draw weights from the global generator when they are made
            torch.manual_seed(seed)
            self._network = self._make_network(n_items, texts)
        initialise(self._network, generator=torch.Generator().manual_seed(seed))

    def _start(self, train: Dataset, *, seed: int) -> None:
        """Set item vectors where training shall begin; with inputs = "id", zero where nothing was bought together."""
        inputs, vectors = self._network.inputs, None
        if self.config.start == "cooccurrence":
            vectors = cooccurrence.vectors(train.queries(), train.n_items, self.config.dim, seed=seed)
        if self.config.inputs != "id":
            inputs.known(train.popularity > 0)
            inputs.start(vectors)
        elif inputs.own is not None and vectors is not None:
            inputs.own.weight.data.copy_(torch.from_numpy(vectors))

    def _make_network(self, n_items: int, texts: Float32 | None) -> SequenceNetwork:
        inputs = ItemInputs(n_items, self.config, texts=texts)
        return SequenceNetwork(inputs, self.layers(), self.config)

    def _jury(self, train: Dataset, *, seed: int) -> Jury | None:
        """Return the questions that may end training, if there shall be any."""
        if self.aids.validation is None or not self.stops_early:
            return None
        return Jury.of(self.aids.validation, train, ranks_cold_items=self.ranks_cold_items, seed=seed)

    def _loss(self, batch: Batch, item_loss: losses.ItemLoss) -> Tensor:
        """Return the mean loss of the next item over all places."""
        table = self._network.inputs()
        known = Batch(batch.items[:, :-1], batch.lengths - 1)
        states = self._network(table, known)
        return item_loss(states[known.real], table, batch.items[:, 1:][known.real])

    def _forecasts(self, queries: Queries, rows: NDArray[np.int64], table: Tensor) -> Tensor:
        """Return the last state of the histories at `rows`, [b, d]."""
        batch = batch_of(queries, rows, self.config.max_length, device=str(table.device))
        return self._network(table, batch)[batch.last]  # type: ignore[no-any-return]

    def _scorer(self) -> Callable[[Queries, NDArray[np.int64]], Tensor]:
        """Return what scores queries under the present weights."""
        table = self._network.inputs()
        return lambda queries, rows: self._forecasts(queries, rows, table) @ table.t()
