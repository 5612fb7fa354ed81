"""What a trained sequence network answers: states of histories, wishes in words, lists; and how it is saved."""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking, top_k
from tastemaker.errors import ConfigError
from tastemaker.models.parts.sequential.sequence_network import SequenceConfig, SequenceNetwork
from tastemaker.models.parts.texts.text_vectors import encoder_or_default
from tastemaker.neural.arrays import take_weights, weights_of
from tastemaker.neural.batches import batch_of, blank_of, by_length
from tastemaker.neural.inputs.item_inputs import ItemInputs
from tastemaker.neural.parallel import spread
from tastemaker.neural.training.judging import ASKED
from tastemaker.recommender import Recommender, check_queries, chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.encoders.base import Encoder
    from tastemaker.types import Bool, Float32, Int64

RANKED_BYTES = 4 * 2**20
"""Size of a block of scores that is ranked at once; small enough to stay near the processor."""


def turned(states: Float32, wished: Float32, *, weight: float) -> Float32:
    """Return forecasts, [b, d], turned towards wished item vectors, [b, d]; where one of the two is zero, the other.

    The wish is first brought to the length of the forecast: (1 - weight) * state + weight * |state| / |wish| * wish.
    """
    lengths, own = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (states, wished))
    both = (lengths > 0) & (own > 0)
    scaled = wished * np.divide(lengths, own, out=np.zeros_like(own), where=both)
    return np.where(both, (1 - weight) * states + weight * scaled, states + wished)


class SequenceRanker(Recommender):
    """A recommender that ranks by the inner products of the last state of a history with the item table."""

    takes = ("encoder",)
    extra = "neural"
    Config = SequenceConfig
    config: Any  # SequenceConfig, or a subclass with the layers' own settings

    _network: SequenceNetwork
    _table: Tensor
    _bought: Bool  # items that somebody has bought, [n]
    _competing: Int64  # their numbers
    _rankable: Bool  # items that something is known of, [n]
    _course: dict[str, Any]
    _pretrained: list[dict[str, float]]  # learning curve of the last pre-training
    _shopper_reader: Encoder

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

    def network_of(self, inputs: ItemInputs, *, shopper_width: int) -> SequenceNetwork:
        """Put item inputs and layers together."""
        return SequenceNetwork(inputs, self.layers(), self.config, shopper_width=shopper_width)

    def score(self, queries: Queries) -> Float32:
        """Return the inner product of each history's forecast with every item, [B, n].

        It is -inf without a history and a wish, and for items that nothing is known of.
        """
        return self._scores(*self._states(queries))

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return the forecast of each history, [B, d], and whether it says anything, [B]; see `Embedding`."""
        return self._states(queries)

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return the item table, [n, d], and which items something is known of, [n]."""
        return self._table.cpu().numpy(), self._rankable

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query; all histories are read before the first is ranked, which keeps batches full."""
        if candidates is not None:
            return super().rank(queries, k, candidates=candidates, seen=seen)
        check_queries(queries, len(self.items), k)
        return self._nearest(*self._states(queries), k, exclude=None if seen else queries)

    def report(self) -> dict[str, Any]:
        """Return how training went."""
        return dict(self._course)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, item table, what is known of items and shoppers, encoders, and how training went.

        What a clock decided is left out, so that equal fits give equal bytes.
        """
        found = weights_of(self._network)
        course = {name: value for name, value in self._course.items() if name != "threads"}
        curve = [
            {name: value for name, value in entry.items() if name != "seconds"} for entry in course["learning_curve"]
        ]
        found["course"] = text_array(json.dumps(course | {"learning_curve": curve}))
        found |= {"table": self._table.numpy(), "bought": self._bought, "rankable": self._rankable}
        if self._network.shoppers is not None:
            found["shoppers"] = self._network.shopper_texts[:-1].numpy()
            found |= {f"shopper_encoder.{name}": array for name, array in self._shopper_reader.arrays().items()}
        if self.config.inputs != "id":
            found |= {f"encoder.{name}": array for name, array in self._reader.arrays().items()}
        return found

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back; item texts are not needed to rank, as the table holds what was made of them."""
        width = ItemInputs.text_width(under(arrays, "network.inputs"))
        texts = np.zeros((len(self.items), width), dtype=np.float32) if width else None
        self._network = self._make_network(len(self.items), texts, arrays.get("shoppers"))
        take_weights(self._network, arrays)
        if self.config.inputs != "id":
            self._reader.restore(under(arrays, "encoder"))
        if self._network.shoppers is not None:
            self._shopper_reader = copy.deepcopy(self._reader)
            self._shopper_reader.restore(under(arrays, "shopper_encoder"))
        self._network.eval()
        self._table = torch.from_numpy(arrays["table"].reshape(len(self.items), self.config.dim))
        self._bought, self._rankable = (arrays[name].reshape(len(self.items)) for name in ("bought", "rankable"))
        self._competing = np.flatnonzero(self._bought)
        self._course = json.loads(array_text(arrays["course"]))

    @property
    def _reader(self) -> Encoder:
        if self.encoder is None:
            raise ConfigError(f"{self.name}: needs an encoder to read texts")
        return self.encoder

    def _states(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return what each query points at in the space of items, [B, d], and whether it says anything, [B]."""
        states = np.zeros((len(queries), self.config.dim), dtype=np.float32)
        known = queries.lengths > 0
        told = np.flatnonzero(known)

        def read(rows: Int64) -> None:
            with torch.inference_mode():
                states[rows] = self._forecasts(queries, rows, self._table).numpy()

        lengths = np.minimum(queries.lengths[told], self.config.max_length)
        spread(read, [told[rows] for rows in by_length(lengths, ASKED)])
        self._introduce(queries, states, known)
        wishes = queries.texts if self.reads_wish and queries.texts is not None else ()
        asked = [row for row, wish in enumerate(wishes) if wish.strip()]
        if asked:
            encoded = self._reader.encode([wishes[row] for row in asked], kind="query")
            with torch.inference_mode():
                wished = self._network.inputs.embed(encoded).numpy()
            states[asked] = turned(states[asked], wished, weight=self.config.wish_weight)
            known[asked] |= wished.any(axis=1)  # a wish without a known word says nothing
        return states, known

    def _introduce(self, queries: Queries, states: Float32, known: Bool) -> None:
        """Put in the forecasts for shoppers without a history of whom a text says something."""
        if self._network.shoppers is None or queries.users is None:
            return
        rows = np.flatnonzero(~known)
        shoppers = torch.from_numpy(queries.users[rows].astype(np.int64)).to(self._table.device)
        told = self._network.told(shoppers)
        rows = rows[told.cpu().numpy()]
        if len(rows):
            with torch.inference_mode():
                states[rows] = self._network(self._table, blank_of(shoppers[told]))[:, 0].cpu().numpy()
            known[rows] = True

    def _nearest(self, states: Float32, known: Bool, k: int, *, exclude: Queries | None) -> Ranking:
        """Return the k items with the largest scores for states [B, d], as `score` and `top_k` would.

        Each thread writes all its blocks of scores into the same memory: fresh memory costs more than the product.
        """
        blocks = list(chunks(len(states), len(self.items), size=RANKED_BYTES))
        rows_at_once = max((part.stop - part.start for part in blocks), default=0)
        own = local()

        def lists(rows: slice) -> Ranking:
            if not hasattr(own, "scores"):
                own.scores = np.empty((rows_at_once, len(self.items)), dtype=np.float32)
            scores = self._scores(states[rows], known[rows], out=own.scores[: rows.stop - rows.start])
            if exclude is not None:
                hidden = exclude.take(rows)
                scores[hidden.rows, hidden.items] = -np.inf
            return top_k(scores, k)

        return Ranking.stack(spread(lists, blocks), k)

    def _scores(self, states: Float32, known: Bool, *, out: Float32 | None = None) -> Float32:
        """Return the scores of states, [b, n], in `out` if that is given."""
        scores = np.empty((len(states), len(self.items)), dtype=np.float32) if out is None else out
        with torch.inference_mode():
            torch.mm(torch.from_numpy(states), self._table.t(), out=torch.from_numpy(scores))
        scores[~known] = -np.inf
        if not self._rankable.all():
            scores[:, ~self._rankable] = -np.inf
        return scores

    def _forecasts(self, queries: Queries, rows: NDArray[np.int64], table: Tensor) -> Tensor:
        """Return the last state of the histories at `rows`, [b, d]."""
        batch = batch_of(queries, rows, self.config.max_length, device=str(table.device))
        return self._network(table, batch)[batch.last]  # type: ignore[no-any-return]

    def _know(self, bought: Bool) -> None:
        """Note what somebody has bought, [n]; a product with neither purchase nor text cannot be ranked."""
        inputs = self._network.inputs
        inputs.known(bought)
        self._bought, self._competing = bought, np.flatnonzero(bought)
        self._rankable = inputs.has_text if self.config.inputs == "text" else bought | inputs.has_text

    def _freeze(self) -> None:
        """Make the table that scores are read from."""
        self._network.eval()
        with torch.inference_mode():
            self._table = self._network.inputs().clone()

    def _make_network(self, n_items: int, texts: Float32 | None, shoppers: Float32 | None = None) -> SequenceNetwork:
        inputs = ItemInputs(n_items, self.config, texts=texts)
        width = 0 if shoppers is None else shoppers.shape[1]
        network = self.network_of(inputs, shopper_width=width)
        if shoppers is not None:
            network.read_shoppers(shoppers)
        return network
