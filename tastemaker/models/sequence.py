"""What all sequence models share: item inputs, training on every place of a history, early stop, scores, transfer.

A model file adds its layers: from embedded histories [b, L, d] to states [b, L, d], each state the forecast of the next
item. Scores are inner products of the last state with the item table. A model that reads texts can rank products that
nobody has bought and another shop's catalogue, and a wish in words turns the forecast towards products that read alike.
"""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking, top_k
from tastemaker.errors import ConfigError, DataError
from tastemaker.models import cooccurrence
from tastemaker.models.sequence_network import SequenceConfig, SequenceNetwork
from tastemaker.models.text_vectors import encoded_items, encoder_or_default, item_vectors
from tastemaker.neural import losses, training
from tastemaker.neural.batches import Batch, batch_of, by_length
from tastemaker.neural.blocks import initialise
from tastemaker.neural.item_inputs import ItemInputs
from tastemaker.neural.judging import ASKED, Jury
from tastemaker.progress import silent
from tastemaker.recommender import Aids, Recommender, check_queries, check_tuning, chunks
from tastemaker.text.render import user_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.encoders.base import Encoder
    from tastemaker.progress import Progress
    from tastemaker.types import Float32

RANKED_BYTES = 8 * 2**20
"""Size of a block of scores that is ranked at once; small enough to stay near the processor."""


class SequenceModel(Recommender):
    """A recommender that reads a history in order."""

    takes = ("encoder",)
    extra = "neural"
    Config = SequenceConfig
    config: Any  # SequenceConfig, or a subclass with the layers' own settings

    _network: SequenceNetwork
    _table: Tensor
    _course: dict[str, Any]
    _bought: Tensor

    def __init__(self, *, encoder: Encoder | None = None, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(encoder=encoder, **settings)
        reads_texts = self.config.inputs != "id"
        if reads_texts or self.config.shopper_texts:
            self.encoder = encoder_or_default(encoder)
        self.ranks_cold_items = reads_texts  # texts make vectors for items that nobody has bought
        self.reads_wish = reads_texts
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
        texts = None
        if self.config.inputs != "id":
            texts = item_vectors(train.items, self._reader, model=self.name, progress=progress)
        shoppers = self._shopper_vectors(train.users, progress) if self.config.shopper_texts else None
        self._build(train.n_items, texts, shoppers, seed=seed)
        self._start(train, seed=seed)
        self._train(train, seed=seed, progress=progress)

    def transfer(self, items: Entities) -> None:
        """Rank another shop's catalogue by its texts; vectors of the old products and texts of shoppers are left out.

        Raises:
            ConfigError: with inputs = "id".
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        if self.config.inputs == "id":
            raise ConfigError(
                f'{self.name}: inputs = "id" cannot rank another catalogue; train with inputs = "text" or "both"'
            )
        network = copy.deepcopy(self._network)  # what is raised leaves the old one as it was
        network.inputs.catalogue(encoded_items(items, self._reader, model=self.name, progress=silent))
        if network.shoppers is not None:
            network.read_shoppers(np.zeros((0, len(network.shopper_texts[0])), dtype=np.float32))
        self._network, self._items = network, items
        self._freeze()

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Go on training from the present weights; see `Tunable`."""
        check_tuning(self, train)
        self.aids, self._items = aids or Aids(), train.items
        if self.config.inputs != "id":
            texts = encoded_items(train.items, self._reader, model=self.name, progress=progress)
            self._network.inputs.read(texts)
            self._network.inputs.known(train.popularity > 0)
        if self._network.shoppers is not None:
            self._network.read_shoppers(self._shopper_vectors(train.users, progress))
        self._train(train, seed=seed, progress=progress)

    def _train(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        before = self._course if self.aids.keep_choices else {}
        histories = train.queries()
        self._bought = torch.from_numpy(np.flatnonzero(train.popularity > 0))
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
        self._freeze()

    def score(self, queries: Queries) -> Float32:
        """Return the inner product of each history's forecast with every item; no opinion without a history."""
        return self._scores(*self._states(queries))

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query; all histories are read before the first is ranked, which keeps batches full."""
        if candidates is not None:
            return super().rank(queries, k, candidates=candidates, seen=seen)
        check_queries(queries, len(self.items), k)
        states, known = self._states(queries)
        lists = [
            top_k(self._scores(states[rows], known[rows]), k, exclude=None if seen else queries.take(rows))
            for rows in chunks(len(queries), len(self.items), size=RANKED_BYTES)
        ]
        return Ranking.stack(lists, k)

    def _states(self, queries: Queries) -> tuple[Float32, NDArray[np.bool_]]:
        """Return what each query points at in the space of items, [B, d], and whether it says anything, [B]."""
        states = np.zeros((len(queries), self.config.dim), dtype=np.float32)
        known = queries.lengths > 0
        with torch.inference_mode():
            for rows in by_length(np.minimum(queries.lengths, self.config.max_length), ASKED):
                rows = rows[known[rows]]
                if len(rows):
                    states[rows] = self._forecasts(queries, rows, self._table).numpy()
            wishes = queries.texts if self.reads_wish and queries.texts is not None else ()
            for row, wish in enumerate(wishes):
                if wish.strip():
                    states[row] = self._towards(wish, states[row])
                    known[row] = True
        return states, known

    def _towards(self, wish: str, state: Float32) -> Float32:
        """Turn a forecast, [d], towards the item vector that the wish would have; its length stays."""
        wished = self._network.inputs.embed(self._reader.encode([wish], kind="query"))[0].numpy()
        length, own = float(np.linalg.norm(state)), float(np.linalg.norm(wished))
        if not length or not own:
            return state if length else wished
        weight = self.config.wish_weight
        return np.asarray((1 - weight) * state + weight * length / own * wished, dtype=np.float32)

    def _scores(self, states: Float32, known: NDArray[np.bool_]) -> Float32:
        scores: Float32 = states @ self._table.numpy().T
        scores[~known] = -np.inf
        return scores

    def report(self) -> dict[str, Any]:
        """Return how training went."""
        return dict(self._course)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the network's weights, the item table, shopper vectors, the encoder, and how training went."""
        found = {f"network.{name}": value.numpy() for name, value in self._network.state_dict().items()}
        found |= {"table": self._table.numpy(), "course": text_array(json.dumps(self._course))}
        if self._network.shoppers is not None:
            found["shoppers"] = self._network.shopper_texts[:-1].numpy()
        if self.config.inputs != "id":
            found |= {f"encoder.{name}": array for name, array in self._reader.arrays().items()}
        return found

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back; item texts are not needed to rank, as the table holds what was made of them."""
        width = ItemInputs.text_width(under(arrays, "network.inputs"))
        texts = np.zeros((len(self.items), width), dtype=np.float32) if width else None
        self._network = self._make_network(len(self.items), texts, arrays.get("shoppers"))
        weights = {name: torch.from_numpy(value) for name, value in under(arrays, "network").items()}
        try:
            self._network.load_state_dict(weights)
        except RuntimeError as error:  # a weight is missing or has another shape
            raise ValueError(str(error)) from error
        if self.config.inputs != "id":
            self._reader.restore(under(arrays, "encoder"))
        self._network.eval()
        self._table = torch.from_numpy(arrays["table"].reshape(len(self.items), self.config.dim))
        self._course = json.loads(array_text(arrays["course"]))

    @property
    def _reader(self) -> Encoder:
        if self.encoder is None:
            raise ConfigError(f"{self.name}: needs an encoder to read texts")
        return self.encoder

    def _shopper_vectors(self, users: Entities, progress: Progress) -> Float32:
        """Return the vectors of what is known of each shopper, [n_users, t]; zeros where that is nothing.

        Raises:
            DataError: nothing is known of anybody.
        """
        texts = user_texts(users)
        if not any(texts):
            raise DataError(f"{self.name}: shopper_texts = true, but the table of users says nothing of any shopper")
        encoder = copy.deepcopy(self._reader).fit(texts)  # words about people, not about products
        vectors = np.array(encoder.encode(texts, kind="document", progress=progress))
        vectors[[not text for text in texts]] = 0
        return vectors

    def _build(self, n_items: int, texts: Float32 | None, shoppers: Float32 | None, *, seed: int) -> None:
        """Make the network with weights drawn by seed."""
        with torch.random.fork_rng(devices=[]):  # modules draw weights from the global generator when they are made
            torch.manual_seed(seed)
            self._network = self._make_network(n_items, texts, shoppers)
        initialise(self._network, generator=torch.Generator().manual_seed(seed))
        if self._network.shoppers is not None and shoppers is not None:
            self._network.shoppers.fit(shoppers)
            self._network.shoppers.start()

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

    def _make_network(self, n_items: int, texts: Float32 | None, shoppers: Float32 | None = None) -> SequenceNetwork:
        inputs = ItemInputs(n_items, self.config, texts=texts)
        width = 0 if shoppers is None else shoppers.shape[1]
        network = self.network_of(inputs, shopper_width=width)
        if shoppers is not None:
            network.read_shoppers(shoppers)
        return network

    def network_of(self, inputs: ItemInputs, *, shopper_width: int) -> SequenceNetwork:
        """Put item inputs and layers together."""
        return SequenceNetwork(inputs, self.layers(), self.config, shopper_width=shopper_width)

    def _freeze(self) -> None:
        """Make the table that scores are read from."""
        self._network.eval()
        with torch.inference_mode():
            self._table = self._network.inputs().clone()

    def _jury(self, train: Dataset, *, seed: int) -> Jury | None:
        """Return the questions that may end training, if there shall be any."""
        if self.aids.validation is None or not self.stops_early:
            return None
        return Jury.of(self.aids.validation, train, ranks_cold_items=self.ranks_cold_items, seed=seed)

    def _loss(self, batch: Batch, item_loss: losses.ItemLoss) -> Tensor:
        """Return the mean loss of the next item over all places."""
        table = self._network.inputs()
        known = replace(batch, items=batch.items[:, :-1], lengths=batch.lengths - 1)
        states = self._network(table, known)[known.real]
        return self._item_loss(item_loss, states, table, batch.items[:, 1:][known.real])

    def _item_loss(self, item_loss: losses.ItemLoss, states: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss; products known by text compete only if somebody has bought them.

        The others would be pushed down at every step, and with them all products whose texts are like theirs.
        """
        if self.config.inputs == "id":
            return item_loss(states, table, targets)
        bought = self._bought.to(table.device)
        return item_loss(states, table[bought], torch.searchsorted(bought, targets))

    def _forecasts(self, queries: Queries, rows: NDArray[np.int64], table: Tensor) -> Tensor:
        """Return the last state of the histories at `rows`, [b, d]."""
        batch = batch_of(queries, rows, self.config.max_length, device=str(table.device))
        return self._network(table, batch)[batch.last]  # type: ignore[no-any-return]

    def _scorer(self) -> Callable[[Queries, NDArray[np.int64]], Tensor]:
        """Return what scores queries under the present weights."""
        table = self._network.inputs()
        return lambda queries, rows: self._forecasts(queries, rows, table) @ table.t()
