"""Re-rankers whose network is trained on practice questions: batches, early stop, lists, and how it is saved."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field

from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.ranking import Ranking, top_k_sparse
from tastemaker.errors import ConfigError
from tastemaker.models.parts.matrices.sparse import arrays_of, matrix_of
from tastemaker.models.parts.reranking.practice import Knowledge, Practice, log_shares, practise
from tastemaker.models.parts.reranking.reranker import Purpose, Reranker, RerankerConfig
from tastemaker.models.parts.texts.text_vectors import item_vectors
from tastemaker.neural import devices
from tastemaker.neural.arrays import take_weights, weights_of
from tastemaker.neural.batches import batch_of, by_length
from tastemaker.neural.candidates import Asked, CandidateNetwork, Tables
from tastemaker.neural.devices import Precision
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import JUDGED, gains
from tastemaker.neural.training.schedules import TrainingConfig
from tastemaker.progress import Progress, silent
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.data.splits import Holdout
    from tastemaker.encoders.base import Encoder
    from tastemaker.types import Float32, Int32, Int64

DEPTH = 100
"""Candidates that the table retrieves for a question of practice."""
TOLD = 0.9
"""Share of the listed questions that are asked with places and scores."""
DECIMALS = 4
"""Of scores in lists: differences below come from how questions were batched."""


class TrainedRerankerConfig(RerankerConfig, TrainingConfig):
    """Settings of every trained re-ranker, beyond those of re-ranking and training.

    Attributes:
        dim: length of the collaborative vectors.
        rounds: last purchases of each history that are asked for in training.
        negatives: candidates beside the right one in training.
        questions: in an epoch; where there are more, so many are drawn each time.
        item_facts: whether the model also sees how often a product was bought. Not for data that keep only products
            with so many purchases: there, few purchases in training tell of held-out ones (see `blend`).
        precision: of the arithmetic: "auto" is bfloat16 on graphics cards that have it, and float32 elsewhere.
        asked_at_once: questions that are answered together, on a graphics card 16 times as many.
        batch_size: questions of a training step.
    """

    dim: int = Field(default=64, ge=1)
    rounds: int = Field(default=3, ge=1)
    negatives: int = Field(default=24, ge=1)
    questions: int = Field(default=32_768, ge=1)
    item_facts: bool = False
    precision: Precision = "auto"
    asked_at_once: int = Field(default=32, ge=1)


class TrainedReranker(Reranker):
    """Trains a network on practice questions, and lets it score candidates; a subclass makes the network."""

    extra = "neural"
    ranks_cold_items = True
    Config = TrainedRerankerConfig

    _network: CandidateNetwork
    _known: Knowledge
    _texts: Float32
    _asked: tuple[Int32, Int32]

    def __init__(self, **parts: Any) -> None:  # noqa: ANN401  # see Recommender
        super().__init__(**parts)
        self.stops_early = bool(self.config.patience)
        self._course: dict[str, Any] = {}

    @abstractmethod
    def make_network(self, tables: Tables, *, seed: int) -> CandidateNetwork:
        """Return the network at its start; torch's generator is seeded."""

    @property
    @abstractmethod
    def base(self) -> str:
        """What pins the pretrained weights below what is trained."""

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train on the last purchases of `train` until validation gets no better.

        Raises:
            DataError: no product has a text, or no shopper has two purchases.
        """
        config = self.config
        known, practice = practise(
            train, rounds=config.rounds, depth=DEPTH, max_length=config.history, dim=config.dim, seed=seed
        )
        self._texts = item_vectors(train.items, self._encoder(), model=self.name, progress=progress)
        network = self._made(known, seed=seed)
        bought = train.queries().items

        def batches(rng: np.random.Generator) -> Iterator[Asked]:
            rows = drawn(practice, config.questions, rng)
            lengths = practice.histories.lengths[rows]
            for group in by_length(lengths, config.batch_size, rng):
                yield question_batch(practice, rows[group], bought, negatives=config.negatives, rng=rng)

        before = self._course if self.aids.keep_choices else {}
        judge = None
        if self.aids.validation is not None and self.stops_early:
            judge = self._judge(self.aids.validation, network, known[0], seed=seed)
        course = loop.train(
            network,
            network.loss,
            batches,
            config.course(judged=judge is not None, epochs=before.get("best_epoch")),
            seed=seed,
            judge=judge,
            judges_start=True,  # that is the retriever's order
            checkpoint=self.aids.checkpoint(self.name),
            identity=training_identity(
                self.name,
                repr(config),
                self.base,
                self._encoder().identity(),
                train.fingerprint,
                network=network,
                validation=None if judge is None else self.aids.validation,
            ),
            device=str(self._device()),
            threads=before.get("threads", "measure") if self.aids.threads == "measure" else self.aids.threads,
            on_epoch=self.aids.listener(self.name),
            progress=progress,
        )
        self._course = course.report() | {"questions": len(practice), "listed": int((practice.places >= 0).sum())}
        self._network, self._known = network, known[0]
        self._asked = practice.users, practice.targets.astype(np.int32)
        self._keep_present(network)

    def opinions(
        self, queries: Queries, candidates: Ranking, *, purpose: Purpose, progress: Progress = silent
    ) -> Sequence[Float32]:
        """Let the network score the first candidates of each list; a list of one is left alone."""
        items = candidates.items[:, : self.config.candidates]
        network, device = self._network, self._device()
        size = self.config.asked_at_once * (1 if device.type == "cpu" else 16)
        known = queries.newest(self.config.history)
        shares = self._known.shares(queries, items)
        widths = (items >= 0).sum(axis=1)
        found: list[Float32] = [np.empty(0, dtype=np.float32)] * len(queries)
        groups = list(by_length(known.lengths, size))
        network.to(device).eval()
        try:
            with torch.inference_mode():
                for rows in progress(groups, label=f"asking {self.name}"):
                    scores = network(present_batch(known, rows, items[rows], shares[rows])).cpu().numpy()
                    for row, given in zip(rows, np.round(scores, DECIMALS), strict=True):
                        if widths[row] > 1:
                            found[row] = given[: widths[row]]
        finally:
            network.cpu()
        return found

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return the purchases that were asked for in training."""
        return {"practice questions": self._asked}

    def report(self) -> dict[str, Any]:
        """Return the chosen weight, and how training went."""
        return {**super().report(), **self._course, "base": self.base}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return trained weights, what is known of products, the encoder's arrays, the weight, and the course.

        The pretrained weights are named by what pins them, and stay where they are.
        """
        course = {**self._course, "learning_curve": loop.timeless(self._course["learning_curve"])}
        course.pop("threads", None)
        return {
            **super().arrays(),
            **weights_of(self._network),
            **{f"encoder.{name}": array for name, array in self._encoder().arrays().items()},
            **arrays_of(self._known.table, "table"),
            "vectors": self._known.vectors,
            "counts": self._known.counts,
            "texts": self._texts,
            "asked": np.stack(self._asked),
            "course": text_array(json.dumps(course)),
            "base": text_array(self.base),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take them back over the pretrained weights.

        Raises:
            ValueError: they were trained over other pretrained weights.
        """
        super().restore(arrays)
        n = len(self.items)
        table = matrix_of(arrays, "table", (n, n))
        self._known = Knowledge(table, arrays["vectors"].reshape(n, self.config.dim), arrays["counts"].reshape(n))
        self._texts = arrays["texts"].reshape(n, -1)
        users, targets = arrays["asked"].reshape(2, -1)
        self._asked = users, targets
        self._encoder().restore(under(arrays, "encoder"))
        self._course = json.loads(array_text(arrays["course"]))
        base = array_text(arrays["base"])
        if base != self.base:
            raise ValueError(f"trained over the weights {base}, and these are {self.base}")
        self._network = self._made([self._known], seed=0)
        take_weights(self._network, arrays)
        self._network.eval()

    def _made(self, known: Sequence[Knowledge], *, seed: int) -> CandidateNetwork:
        """Make the network over the tables of all rounds."""
        vectors, counts = (np.stack([getattr(one, name) for one in known]) for name in ("vectors", "counts"))
        told = counts if self.config.item_facts else np.zeros_like(counts)
        tables = Tables(*(torch.from_numpy(array) for array in (vectors, told, self._texts)))
        with devices.seeded(torch.device("cpu"), seed):
            return self.make_network(tables, seed=seed)

    def _keep_present(self, network: CandidateNetwork) -> None:
        """Forget what was known in the rounds of practice."""
        network.vectors, network.popularity = network.vectors[:1].clone(), network.popularity[:1].clone()

    def _judge(
        self, validation: Holdout, network: CandidateNetwork, known: Knowledge, *, seed: int
    ) -> Callable[[], float] | None:
        """Return what measures NDCG@10 among the candidates that the table retrieves for validation questions."""
        questions = validation.sample(JUDGED, seed=seed)
        rows = np.flatnonzero((questions.queries.lengths > 0) & (questions.targets.lengths > 0))
        targets = questions.targets.items[questions.targets.offsets[rows]]
        asked = questions.queries.take(rows)
        lists = retrieved(known, asked, self.config.candidates)
        hit = lists.items == targets[:, None]
        able = np.flatnonzero(hit.any(axis=1))  # whatever the network says, the others count 0
        if not len(able):
            return None
        histories, lists, right = (
            asked.take(able).newest(self.config.history),
            lists.take(able),
            hit[able].argmax(axis=1),
        )
        shares = log_shares(np.where(lists.items >= 0, lists.scores, 0).astype(np.float32))
        groups = list(by_length(histories.lengths, 8 * self.config.asked_at_once))

        def measure() -> float:
            total = 0.0
            with torch.inference_mode():
                for part in groups:
                    scores = network(present_batch(histories, part, lists.items[part], shares[part]))
                    total += float(gains(scores, torch.from_numpy(right[part]).to(scores.device)).sum())
            return total / len(questions)

        return measure

    def _device(self) -> torch.device:
        """Return where the network is trained and asked: where the fit says, else where the pretrained model is."""
        if self.aids.device != "cpu":
            return devices.device_of(self.aids.device)
        part: Any = self.encoder if self.lm is None else self.lm
        while part is not None and not hasattr(getattr(part, "config", None), "device"):
            part = getattr(part, "lm", getattr(part, "encoder", None))  # behind caches and budgets
        return devices.device_of("cpu" if part is None else part.config.device)

    def _encoder(self) -> Encoder:
        if self.encoder is None:
            raise ConfigError(f"{self.name}: needs an encoder to read texts")
        return self.encoder


def retrieved(known: Knowledge, queries: Queries, k: int) -> Ranking:
    """Return the table's k best products for each history, beyond it."""
    parts = [queries.take(rows) for rows in chunks(len(queries), len(known.counts))]
    return Ranking.stack([top_k_sparse(known.scores(part), k, exclude=part) for part in parts], k)


def drawn(practice: Practice, most: int, rng: np.random.Generator) -> Int64:
    """Draw the questions of an epoch: all listed ones and as many others (a quarter of all at least), or `most`."""
    listed = np.flatnonzero(practice.places >= 0)
    others = rng.permutation(np.flatnonzero(practice.places < 0))[: max(len(listed), len(practice) // 4)]
    return np.sort(rng.permutation(np.concatenate([listed, others]))[:most])


def question_batch(
    practice: Practice, rows: Int64, bought: Int32, *, negatives: int, rng: np.random.Generator
) -> Asked:
    """Return questions with the right candidate first and random ones of its list behind it.

    Where the target is not listed, nothing of the retriever is told, and half of the others are drawn from `bought`.

    Args:
        practice: all questions.
        rows: which ones.
        bought: products as often as they were bought, to draw from.
        negatives: candidates beside the right one.
        rng: draws them.
    """
    lists, places, targets = practice.lists[rows], practice.places[rows], practice.targets[rows]
    listed = places >= 0
    keys = rng.random(lists.shape)
    keys[lists < 0] = 2
    keys[np.flatnonzero(listed), places[listed]] = -1  # the target goes first
    order = np.argsort(keys, axis=1, kind="stable")
    order = np.where(listed[:, None], order, np.roll(order, 1, axis=1))[:, : negatives + 1]  # room for the target
    items, shares = (
        np.take_along_axis(lists, order, 1).astype(np.int64),
        np.take_along_axis(practice.shares[rows], order, 1),
    )
    items[~listed, 0] = targets[~listed]
    half = 1 + negatives // 2
    strange = bought[rng.integers(len(bought), size=items[:, half:].shape)]
    items[:, half:] = np.where(listed[:, None], items[:, half:], strange)
    items[:, 1:][items[:, 1:] == targets[:, None]] = -1
    told = listed & (rng.random(len(rows)) < TOLD)
    history = batch_of(practice.histories, rows, 1 << 30)
    return Asked(
        history.items.masked_fill(~history.real, -1),
        torch.from_numpy(items),
        torch.from_numpy(order.astype(np.float32)),
        torch.from_numpy(shares),
        torch.from_numpy(told),
        torch.from_numpy(practice.rounds[rows]),
    )


def present_batch(queries: Queries, rows: Int64, items: Int32, shares: Float32) -> Asked:
    """Return questions about today with the retriever's lists [b, m] and the shares of their scores."""
    history = batch_of(queries, rows, 1 << 30)
    places = np.broadcast_to(np.arange(items.shape[1], dtype=np.float32), items.shape)
    return Asked(
        history.items.masked_fill(~history.real, -1),
        torch.from_numpy(items.astype(np.int64)),
        torch.from_numpy(places.copy()),
        torch.from_numpy(shares),
        torch.ones(len(rows), dtype=torch.bool),
        torch.zeros(len(rows), dtype=torch.int64),
    )
