r"""LightGCN: item vectors smoothed over the graph of who bought what, without weights or activations in between.

He et al., "LightGCN", SIGIR 2020: with $\tilde A_{ui} = 1 / \sqrt{|N_u| |N_i|}$ a layer is $E_U' = \tilde A E_I$ and
$E_I' = \tilde A^T E_U$, and the final vectors are the mean over all layers (eq. 3-7).

Deviations. Shoppers have no free vectors, their layer 0 is zero. Layer 2r of the items is then
$(\tilde A^T \tilde A)^r E$, their final vectors are the mean G over r = 0 .. `layers`, and a shopper's final vector is
one step more, $\sum_{i \in N_u} G_i / \sqrt{|N_u| |N_i|}$: but for a factor, the paper with 2 `layers` + 1 layers. It
asks for a history alone: a new shopper is a new node linked to these items, a known one is answered by the same
formula, and memory is flat in shoppers. The link to an item weighs $r^{age}$ with r = `recency`, and $|N_u|$ is the sum
of these weights; r = 1 is the published form. The score is the cosine, in training divided by `temperature`, as in
AlphaRec (Sheng et al., ICLR 2025), which inputs = "text" comes close to; `score` = "inner" is the published product.

In training a shopper is asked for a purchase from those before it, by the formula that serves, and for that step the
batch's shoppers are taken out of the graph, so no answer lies in its own question. Each step spreads vectors over the
whole graph, so an epoch has a bounded number of steps, each of many shoppers: its cost grows as the interactions do.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tastemaker.configurable import array_text, text_array
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.models.parts.matrices.similarity import on_grid, products, with_data
from tastemaker.models.parts.texts.text_vectors import encoder_or_default, item_vectors
from tastemaker.neural import losses
from tastemaker.neural.blocks import initialise
from tastemaker.neural.inputs.item_inputs import ItemInputConfig, ItemInputs
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import Jury
from tastemaker.recommender import Recommender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.neural.training.judging import Scores
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int64

    Batch = tuple[Int64, Queries, Int64]
    """Shoppers of a training step, what each question reads, and the items that answer them."""

ABSENT = 0.1
"""Largest share of the shoppers that a training step asks and takes out of the graph."""
STEPS = 16
"""Most steps of an epoch, if the shoppers are many; each goes over the whole graph."""
ASKED = 0.25
"""Share of a mean history that an epoch asks for by default."""
LEAST_ASKED = 2
"""Fewest purchases of a shopper that an epoch asks for by default."""


class Graph:
    """Who bought what, as a normalised bipartite graph.

    Args:
        purchases: ones, sparse [users, n].
    """

    def __init__(self, purchases: csr_array) -> None:
        buyers = np.bincount(purchases.indices, minlength=purchases.shape[1])
        self.links: Float32 = (1 / np.sqrt(np.maximum(buyers, 1))).astype(np.float32)
        """What a link to each item weighs, 1 / sqrt(|N_i|), [n]; an item that nobody bought counts as bought once."""
        bought = np.diff(purchases.indptr)
        weights = 1 / np.sqrt(np.repeat(bought, bought))
        self._edges = with_data(purchases, weights * self.links[purchases.indices])
        self._down, self._up = _both_ways(self._edges)

    def propagate(self, vectors: Tensor, *, layers: int, without: Int64 | None = None) -> Tensor:
        """Return the mean of the items' vectors over all layers, [n, d].

        Args:
            vectors: of layer 0, [n, d].
            layers: steps from items to shoppers and back.
            without: shoppers who are left out of the graph; degrees stay as they are.
        """
        total, place = vectors, vectors.device
        self._down, self._up = self._down.to(place), self._up.to(place)  # the graph follows the vectors
        absent = None if without is None else [one.to(place) for one in _both_ways(csr_array(self._edges[without]))]
        for _ in range(layers):
            smoothed = torch.sparse.mm(self._up, torch.sparse.mm(self._down, vectors))
            if absent is not None:
                smoothed = smoothed - torch.sparse.mm(absent[1], torch.sparse.mm(absent[0], vectors))
            vectors = smoothed
            total = total + vectors
        return total / (layers + 1)


class LightGCNConfig(ItemInputConfig, losses.LossConfig, loop.TrainingConfig):
    """Settings of `lightgcn`, beyond those of its item vectors, its loss and its training.

    Attributes:
        layers: steps from items to shoppers and back; L of them are 2 L + 1 layers of the paper, 0 is factorisation.
        recency: weight of a history item for each step back from the newest; 1 = all alike, the published form.
        max_length: newest purchases that are read.
        dropout: of the item vectors that shoppers' vectors are made of.
        start: item vectors begin at factorised co-occurrence counts, or at random.
        score: cosine, or the inner product of the paper.
        temperature: what cosines are divided by in training.
        targets: purchases of a shopper, drawn anew each epoch, that are asked for; by default a quarter of a mean
            history, and at least 2.
        batch_size: shoppers of a training step: at most a tenth of all, as they leave the graph for that step, and at
            least a sixteenth of all, as each step goes over the whole graph.
    """

    layers: int = Field(default=1, ge=0)
    recency: float = Field(default=0.6, gt=0, le=1)
    max_length: int = Field(default=50, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    start: Literal["cooccurrence", "random"] = "cooccurrence"
    score: Literal["cosine", "inner"] = "cosine"
    temperature: float = Field(default=0.1, gt=0)
    targets: int | None = Field(default=None, ge=1)
    patience: int = Field(default=5, ge=0)
    batch_size: int = Field(default=2048, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    clip: float = Field(default=0.0, ge=0)


class LightGCN(Recommender):
    """Spreads what is known of an item over the shoppers who bought it to the other items that they bought."""

    name = "lightgcn"
    takes = ("encoder",)
    extra = "neural"
    Config = LightGCNConfig
    config: LightGCNConfig

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(**settings)
        self.ranks_cold_items = self.config.inputs != "id"  # texts make vectors for items that nobody has bought
        self.stops_early = bool(self.config.patience)
        self._course: dict[str, Any] = {}

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train until validation gets no better, or for as many epochs as the last such fit found best."""
        config, histories, texts, encoder = self.config, train.queries(), None, None
        if not (histories.lengths > 1).any():
            raise DataError(f"{self.name}: no shopper has 2 purchases in the training part; use popular or text_knn")
        if config.inputs != "id":
            encoder = encoder_or_default(self.encoder)
            texts = item_vectors(train.items, encoder, model=self.name, progress=progress)
        known = train.bought if texts is None else train.bought | texts.any(axis=1)
        inputs, graph = _item_inputs(train, config, texts, seed=seed), Graph(train.matrix())
        item_loss = losses.loss_of(config, train.n_items)
        rivals = None if texts is None else torch.from_numpy(np.flatnonzero(train.bought))

        def freeze() -> None:
            with torch.inference_mode():
                table = graph.propagate(inputs(), layers=config.layers).cpu().numpy()
            self._set(np.where(known[:, None], table, 0).astype(np.float32), graph.links)

        def scorer() -> Scores:
            freeze()
            return lambda queries, rows: torch.from_numpy(self.score(queries.take(rows)))

        jury, judge = None, None
        if self.aids.validation is not None and self.stops_early:
            jury = Jury.of(self.aids.validation, train, ranks_cold_items=self.ranks_cold_items, seed=seed)
            judge = None if jury.silent else jury.ndcg(scorer, max_length=config.max_length)
        course = loop.train(
            inputs,
            partial(self._loss, inputs, graph, item_loss, rivals),
            partial(self._batches, histories),
            config.course(judged=judge is not None, epochs=self.aids.epochs_for(self._course)),
            seed=seed,
            judge=judge,
            identity=training_identity(
                self.name,
                repr(config),
                "" if encoder is None else encoder.identity(),
                train.fingerprint,
                network=inputs,
                validation=None if jury is None else jury.questions,
            ),
            **self.aids.of_training(self.name, self._course),
            progress=progress,
        )
        self._course = course.report(not_judged="" if jury is None else jury.silent)
        self._course["loss"] = losses.loss_name(config, train.n_items)
        freeze()

    def score(self, queries: Queries) -> Float32:
        """Return the similarity of each history's vector to every item's, [B, n].

        It is -inf for items with neither purchase nor text, and for histories of only such items.
        """
        states, asked = self.query_vectors(queries)
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        scores[asked] = np.where(self._known, products(states[asked], self._answers), -np.inf)
        return scores

    def query_vectors(self, queries: Queries) -> tuple[Float32, Bool]:
        """Return the vector of each history, [B, dim], and whether it has one, [B]; see `Embedding`."""
        states = self._compared(np.asarray(self._weights(queries, self._links) @ self._table, dtype=np.float32))
        return states, (states != 0).any(axis=1)

    def item_vectors(self) -> tuple[Float32, Bool]:
        """Return the items' vectors as they are compared, [n, dim], and which have a purchase or a text, [n]."""
        return self._answers, self._known

    def report(self) -> dict[str, Any]:
        """Return how training went."""
        return dict(self._course)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the items' final vectors, the weights of links to them, and how training went."""
        course = {**self._course, "learning_curve": loop.timeless(self._course["learning_curve"])}
        return {"table": self._table, "links": self._links, "course": text_array(json.dumps(course))}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back."""
        n = len(self.items)
        self._set(arrays["table"].reshape(n, self.config.dim), arrays["links"].reshape(n))
        self._course = json.loads(array_text(arrays["course"]))

    def _set(self, table: Float32, links: Float32) -> None:
        """Hold what was learnt; both `learn` and `restore` end here, so they cannot differ."""
        self._table, self._links = table, links
        self._answers, self._known = self._compared(table), (table != 0).any(axis=1)

    def _compared(self, vectors: Float32) -> Float32:
        """Return vectors as they are compared; on the grid, so that an answer does not depend on what else is asked."""
        if self.config.score == "inner":
            return on_grid(vectors)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return on_grid(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))

    def _weights(self, queries: Queries, links: Float32) -> csr_array:
        """Return what shoppers' vectors are made of: r^age / sqrt(|N_u| |N_i|), sparse [B, n]."""
        rows = queries.newest(self.config.max_length).matrix(len(links), recency=self.config.recency)
        sums = np.repeat(rows.sum(axis=1), np.diff(rows.indptr))
        return with_data(rows, rows.data / np.sqrt(sums) * links[rows.indices])

    def _batches(self, histories: Queries, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield the training steps of one epoch: shoppers in random order, with what they are asked."""
        rows = rng.permutation(np.flatnonzero(histories.lengths > 1))  # the first purchase is only read
        size = min(max(self.config.batch_size, -(-len(rows) // STEPS)), max(1, int(len(rows) * ABSENT)))
        drawn = self.config.targets or max(LEAST_ASKED, int(ASKED * histories.lengths[rows].mean()))
        for begin in range(0, len(rows), size):
            shoppers = np.sort(rows[begin : begin + size])
            yield shoppers, *questions(histories.take(shoppers), drawn, self.config.max_length, rng)

    def _loss(
        self, inputs: ItemInputs, graph: Graph, item_loss: losses.ItemLoss, rivals: Tensor | None, batch: Batch
    ) -> Tensor:
        """Return the mean loss of a training step.

        Of items that are known by text only `rivals`, those that somebody has bought, compete: the others would be
        pushed down at every step, and with them all whose texts are like theirs.
        """
        config, (shoppers, asked, answers) = self.config, batch
        table = graph.propagate(inputs(), layers=config.layers, without=shoppers)
        read = nn.functional.dropout(table, config.dropout)
        states = torch.sparse.mm(_sparse(self._weights(asked, graph.links)).to(read.device), read)
        if config.score == "cosine":
            states = nn.functional.normalize(states, dim=1) / config.temperature
            table = nn.functional.normalize(table, dim=1)
        wanted = torch.from_numpy(answers).to(table.device)
        if rivals is not None:
            rivals = rivals.to(table.device)
            table, wanted = table[rivals], torch.searchsorted(rivals, wanted)
        size = config.batch_size * LEAST_ASKED
        if len(states) <= size:
            return item_loss(states, table, wanted)
        parts = [  # scores of one part at a time are held; they are computed anew for the gradient
            len(part) * checkpoint(item_loss, part, table, answer, use_reentrant=False)
            for part, answer in zip(torch.split(states, size), torch.split(wanted, size), strict=True)
        ]
        return torch.stack(parts).sum() / len(states)


def questions(histories: Queries, size: int, max_length: int, rng: np.random.Generator) -> tuple[Queries, Int64]:
    """Draw up to `size` purchases of each history, never the first one.

    Returns:
        The at most `max_length` purchases before each drawn one, and the drawn ones, int64.
    """
    rows, first = histories.rows, np.repeat(histories.offsets[:-1], histories.lengths)
    places = np.flatnonzero(np.arange(len(rows)) > first)
    drawn = places[np.lexsort((rng.random(len(places)), rows[places]))]
    turn = np.arange(len(drawn)) - np.searchsorted(rows[drawn], rows[drawn])  # 0 for the first drawn of each history
    ends = drawn[turn < size]
    begins = np.maximum(first[ends], ends - max_length)
    offsets = np.concatenate([[0], np.cumsum(ends - begins)])
    at = np.repeat(begins - offsets[:-1], ends - begins) + np.arange(offsets[-1])
    return Queries(offsets, histories.items[at]), histories.items[ends].astype(np.int64)


def _item_inputs(train: Dataset, config: LightGCNConfig, texts: Float32 | None, *, seed: int) -> ItemInputs:
    """Make the items' vectors of layer 0: drawn by seed, then begun at texts and, where so set, at co-occurrence."""
    with torch.random.fork_rng(devices=[]):  # modules draw weights from the global generator when they are made
        torch.manual_seed(seed)
        inputs = ItemInputs(train.n_items, config, texts=texts)
    initialise(inputs, generator=torch.Generator().manual_seed(seed))
    drawn = None if inputs.own is None else inputs.own.weight.detach().clone()
    inputs.known(train.bought)
    paired = config.start == "cooccurrence"
    inputs.start(cooccurrence.vectors(train.queries(), train.n_items, config.dim, seed=seed) if paired else None)
    if inputs.own is not None and drawn is not None:
        bare = ~inputs.own.weight.any(dim=1)  # without a pair an item keeps its random vector: zero has no direction
        inputs.own.weight.data[bare] = drawn[bare]
    return inputs


def _both_ways(edges: csr_array) -> tuple[Tensor, Tensor]:
    """Return the matrix and its transpose for torch."""
    return _sparse(edges), _sparse(csr_array(edges.T))


def _sparse(matrix: csr_array) -> Tensor:
    """Return the matrix for torch, coordinates in order."""
    found = matrix.tocoo()
    places = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
    return torch.sparse_coo_tensor(places, torch.from_numpy(found.data), found.shape, check_invariants=False).coalesce()
