"""One small encoder-decoder that learns every task of a shop as text: recommendation, ratings, reasons, attributes.

Geng et al., "Recommendation as Language Processing (RLP)", RecSys 2022 (arXiv 2203.13366): each task becomes prompt and
answer in words in which products are identifiers, and one T5 learns all of them at once. Here its weights and its
tokenizer begin at random and are learnt from the shop alone, a shopper is a history, and the families are those of
`text.instructions.task_families`, each with a weight.

Identifiers do not leak. P5 numbered products in the order in which shoppers' sequences came in the file, so products
bought one after the other had numbers with equal beginnings, held-out ones too; most of its published accuracy was that
(jeykigung/P5, issue 3; Rajput et al., TIGER, appendix). Here a product has a token of its own, with nothing to read
from it, whose vector starts at co-occurrence in the training part; or codes that are made from that part alone.

A list is the likelihood of each product's identifier as the answer to a "sequential" prompt, or with several codes a
product what a beam along the trie of products finds, so nothing can be invented; candidates are ranked by the same
likelihoods. Deviation: where the answer is an identifier, the loss lets only identifiers compete, which is what
constrained decoding asks of the model anyway.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from tastemaker.configurable import array_text, text_array, under
from tastemaker.data.ranking import Ranking, top_k
from tastemaker.errors import DataError
from tastemaker.models.parts.generative.identifiers import (
    IdentifierConfig,
    Identifiers,
    found,
    judged,
    likelihoods,
    made,
    trie_of,
)
from tastemaker.models.parts.generative.task_lessons import (
    ANSWER_TOKENS,
    MAX_TOKENS,
    RANKED_BY,
    FamilyConfig,
    Lessons,
    lessons_of,
    who,
)
from tastemaker.models.parts.generative.text_codec import Packed, TextCodec, identifiers
from tastemaker.models.parts.generative.text_to_text import Task, TextToText, task_of
from tastemaker.neural.arrays import take_weights, weights_of
from tastemaker.neural.batches import by_length
from tastemaker.neural.indexing import beam
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import ASKED, JUDGED_AT, Jury
from tastemaker.neural.training.schedules import TrainingConfig
from tastemaker.recommender import Recommender, check_queries, chunks
from tastemaker.text.instructions.task_families import MAX_HISTORY, TaskWriter, listed, prompt
from tastemaker.text.instructions.task_templates import FAMILIES
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.neural.indexing.trie import CodeTrie
    from tastemaker.progress import Progress
    from tastemaker.types import Bool, Float32, Int32, Int64

SEARCHED = 64
"""Prompts whose answers are searched at once, each with as many prefixes; fewer where the beam keeps more."""


class P5Config(FamilyConfig, IdentifierConfig, TrainingConfig):
    """Settings of `p5`, beyond those of identifiers and training.

    Attributes:
        dim: of states and embeddings.
        layers: of the encoder, and as many of the decoder.
        heads: of attention; must divide `dim`.
        dropout: everywhere in the network.
        vocabulary: tokens of words; identifiers come on top.
        wording: of the prompts that rank: 0, 1, ... as in training, or -1 for one that no training saw.
        batch_size: pairs of a training step.
    """

    dim: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    vocabulary: int = Field(default=4000, ge=300)
    wording: int = Field(default=0, ge=-1)
    epochs: int = Field(default=40, ge=1)
    patience: int = Field(default=4, ge=0)

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}")
        if not self.families.get(RANKED_BY):
            raise ValueError(f"families: {RANKED_BY} must be above 0: its prompts rank")
        if self.wording >= len(FAMILIES[RANKED_BY].templates):
            raise ValueError(f"wording = {self.wording}: there are {len(FAMILIES[RANKED_BY].templates)}, from 0 on")
        return self


class P5(Recommender):
    """Ranks by the likelihood of each product as the answer to a prompt, and answers other tasks in words."""

    name = "p5"
    extra = "lm"
    Config = P5Config
    config: P5Config

    _network: TextToText
    _codec: TextCodec
    _ids: Identifiers
    _trie: CodeTrie | None
    _names: list[str]  # how each product is written
    _bought: Bool
    _written: dict[str, int]

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by the base
        super().__init__(**settings)
        self.stops_early = bool(self.config.patience)
        self._course: dict[str, Any] = {}
        self._pairs: dict[str, tuple[Int32, Int32]] = {}

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Write all pairs, learn the tokenizer, and train until validation gets no better.

        Raises:
            DataError: no shopper has two purchases.
        """
        if train.queries().lengths.max(initial=0) < 2:
            raise DataError(f"{self.name}: no shopper has 2 purchases in the training part; use popular or text_knn")
        self._bought = train.bought
        self._ids, vectors = made(train, self.config, dim=self.config.dim, seed=seed)
        self._names, self._trie = identifiers(self._ids.tokens), trie_of(self._ids, self._bought)
        rng, writer = np.random.default_rng(seed), TaskWriter(train, names=self._names, between="")
        drawn = self.config.draw(writer, rng)
        self._pairs = {family: who(pairs) for family, pairs in drawn.items()}
        self._written = {family: len(pairs) for family, pairs in drawn.items()}
        texts = (text for pairs in drawn.values() for pair in pairs for text in (pair.prompt.user, pair.answer))
        self._codec = TextCodec.learn(texts, vocabulary=self.config.vocabulary, length=len(self._ids.sizes))
        lessons = lessons_of(drawn, self._codec, self.config.families)
        self._build(seed=seed)
        self._start(vectors)
        self._train(train, lessons, seed=seed, progress=progress)

    def score(self, queries: Queries) -> Float32:
        """Return log-likelihoods of the products' identifiers, [B, n].

        They are -inf without history, for products that nobody bought, and, with several codes a product, for those
        that a beam of `beams` does not find.
        """
        return self._scores(queries, width=self.config.beams)

    def rank(self, queries: Queries, k: int, *, candidates: Ranking | None = None, seen: bool = False) -> Ranking:
        """Rank items for each query; with several codes a product, by a beam of 2 k at least, or exactly candidates.

        Where a history could fill the beam, it is wider, so that k products are left.
        """
        if self._items is None or self._ids.single:
            return super().rank(queries, k, candidates=candidates, seen=seen)
        check_queries(queries, len(self.items), k)
        parts = []
        for rows in chunks(len(queries), len(self.items)):
            asked = queries.take(rows)
            if candidates is not None:
                scores = self._scores(asked, width=0, offered=candidates.items[rows])
            else:
                scores = np.empty((len(asked), len(self.items)), dtype=np.float32)
                for width, alike in self._by_width(asked, k, seen=seen):
                    scores[alike] = self._scores(asked.take(alike), width=width)
            parts.append(top_k(scores, k, exclude=None if seen else asked))
        return Ranking.stack(parts, k)

    def _scores(self, queries: Queries, *, width: int, offered: Int32 | None = None) -> Float32:
        """Return log-likelihoods, [B, n], of what a beam of `width` finds, or of what is offered, [B, c]."""
        scores = np.full((len(queries), len(self.items)), -np.inf, dtype=np.float32)
        rows = np.flatnonzero(queries.lengths)
        prompts = self._prompts(queries, rows)
        with torch.inference_mode():
            for group in by_length(prompts.lengths, self._at_once(width)):
                listed = None if offered is None else offered[rows[group]]
                scores[rows[group]] = self._likelihoods(prompts, group, width=width, offered=listed).numpy()
        return scores

    def generate(
        self,
        task: str,
        queries: Queries | None = None,
        items: Sequence[int] | Int32 | None = None,
        *,
        most: int = ANSWER_TOKENS,
        held_out: bool = False,
        **places: Sequence[str],
    ) -> list[str]:
        """Answer a task in words, greedily; what is written is the model's, so check it before it is shown.

        Args:
            task: a family, e.g. "rating", "explanation", "attribute".
            queries: histories, for families that read one.
            items: product of each prompt, for families that are about one.
            most: tokens of an answer.
            held_out: ask in a wording that no training saw.
            places: other places of the family's wordings, one value a prompt, e.g. attribute=["brand", "price"].

        Returns:
            One answer a prompt; products in it are written by name.

        Raises:
            ConfigError: there is no such family, or a place is missing.
            NotFitted: `fit` or `load` comes first.
        """
        _ = self.items
        filled: dict[str, Sequence[str]] = dict(places)
        if queries is not None:
            filled["history"] = [listed(history, self._names, between="") for history in queries]
        if items is not None:
            filled["product"] = [self._names[item] for item in items]
        columns = zip(*filled.values(), strict=True)
        texts = [prompt(task, held_out=held_out, **dict(zip(filled, row, strict=True))).user for row in columns]
        prompts = self._codec.encode(texts, most=MAX_TOKENS)
        names, answers = item_names(self.items), [""] * len(texts)
        item_of = {codes: item for item, codes in enumerate(map(tuple, self._ids.tokens.tolist()))}

        def named(codes: tuple[int, ...]) -> str:
            return f'"{names[item_of[codes]]}"' if codes in item_of else ""

        with torch.inference_mode():
            for group in by_length(prompts.lengths, ASKED):
                asked = task_of(prompts, None, group, identifiers=False, device="cpu")
                for row, tokens in zip(group, self._network.answer(asked, most=most).tolist(), strict=True):
                    answers[row] = self._codec.decode(tokens, name=named)
        return answers

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return shopper and product of every pair of the last `fit`, by family; nothing after loading."""
        return {f"{family} pairs": pairs for family, pairs in self._pairs.items() if len(pairs[0])}

    def report(self) -> dict[str, Any]:
        """Return how training went, and how many pairs of each family were written."""
        return dict(self._course)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, tokenizer, what was bought, and how training went."""
        course = {**self._course, "learning_curve": loop.timeless(self._course["learning_curve"])}
        course.pop("threads", None)
        return {
            **weights_of(self._network),
            "tokenizer": text_array(self._codec.to_json()),
            "bought": self._bought,
            **{f"identifiers.{name}": array for name, array in self._ids.arrays().items()},
            "course": text_array(json.dumps(course)),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned."""
        self._bought = arrays["bought"].reshape(len(self.items))
        self._course = json.loads(array_text(arrays["course"]))
        self._ids = Identifiers.restored(under(arrays, "identifiers"), len(self.items))
        self._names, self._trie = identifiers(self._ids.tokens), trie_of(self._ids, self._bought)
        self._codec = TextCodec.from_json(array_text(arrays["tokenizer"]), length=len(self._ids.sizes))
        self._build(seed=0)
        take_weights(self._network, arrays)
        self._network.eval()

    def _build(self, *, seed: int) -> None:
        config = self.config
        with torch.random.fork_rng(devices=[]):  # modules draw weights from the global generator when they are made
            torch.manual_seed(seed)
            self._network = TextToText(
                self._codec.first + self._ids.count,
                self._codec.first,
                dim=config.dim,
                layers=config.layers,
                heads=config.heads,
                dropout=config.dropout,
            )

    def _start(self, vectors: Float32) -> None:
        """Begin identifier tokens at these vectors, [count, dim], at the mean squared length that other tokens have."""
        given = np.flatnonzero(vectors.any(axis=1))
        begun = torch.from_numpy(vectors[given]) * self.config.dim**0.5
        self._network.tokens.weight.data[torch.from_numpy(self._codec.first + given)] = begun

    def _train(self, train: Dataset, lessons: list[Lessons], *, seed: int, progress: Progress) -> None:
        config, device, before = self.config, self.aids.device, self._course if self.aids.keep_choices else {}

        def batches(rng: np.random.Generator) -> Iterator[Task]:
            groups = [(part, group) for part in lessons for group in part.groups(config.batch_size, rng)]
            for at in rng.permutation(len(groups)):
                part, group = groups[at]
                yield task_of(part.prompts, part.answers, group, identifiers=part.identifiers, device=device)

        jury, judge = None, None
        if self.aids.validation is not None and self.stops_early:
            jury = Jury.of(self.aids.validation, train, ranks_cold_items=False, seed=seed)
            judge = None if jury.silent else jury.ndcg(self._scorer, max_length=MAX_HISTORY)
        checkpoint = self.aids.checkpoint(self.name)
        course = loop.train(
            self._network,
            self._network,
            batches,
            config.course(judged=judge is not None, epochs=before.get("best_epoch")),
            seed=seed,
            judge=judge,
            checkpoint=checkpoint,
            identity=training_identity(
                self.name,
                repr(config),
                train.fingerprint,
                network=self._network,
                validation=None if jury is None else jury.questions,
            ),
            device=device,
            threads=before.get("threads", "measure") if self.aids.threads == "measure" else self.aids.threads,
            on_epoch=self.aids.listener(self.name),
            progress=progress,
        )
        self._course = course.report(not_judged="" if jury is None else jury.silent)
        self._course["pairs"] = self._written

    def _scorer(self) -> Callable[[Queries, Int64], Tensor]:
        """Return what scores queries under the present weights, so that the first places are those of `rank`."""

        def scores(queries: Queries, rows: Int64) -> Tensor:
            prompts, asked = self._prompts(queries, rows), queries.take(rows)
            found = torch.empty(len(rows), len(self.items), device=self._network.tokens.weight.device)
            for width, alike in self._by_width(asked, JUDGED_AT):
                size = self._at_once(width)
                for group in (alike[start : start + size] for start in range(0, len(alike), size)):
                    found[torch.from_numpy(group)] = self._likelihoods(prompts, group, width=width)
            return found

        return scores

    def _by_width(self, queries: Queries, k: int, *, seen: bool = False) -> list[tuple[int, Int64]]:
        """Return rows with the width of the beam that lists k products for them; 0 where identifiers need none."""
        if self._ids.single:
            return [(0, np.arange(len(queries)))]
        return beam.by_width(queries, max(self.config.beams, 2 * k), k, seen=seen)

    def _at_once(self, width: int) -> int:
        """Return how many prompts are asked at once with a beam of `width`."""
        if self._ids.single:
            return ASKED
        return max(1, SEARCHED * SEARCHED // max(SEARCHED, min(width, len(self.items))))

    def _prompts(self, queries: Queries, rows: Int64) -> Packed:
        """Return the encoded prompts that ask for the next product of the histories at `rows`."""
        held_out = self.config.wording < 0
        wording = 0 if held_out else self.config.wording
        texts = [
            prompt(
                RANKED_BY,
                wording=wording,
                held_out=held_out,
                history=listed(queries.history(int(row)), self._names, between=""),
            ).user
            for row in rows
        ]
        return self._codec.encode(texts, most=MAX_TOKENS)

    def _likelihoods(self, prompts: Packed, rows: Int64, *, width: int, offered: Int32 | None = None) -> Tensor:
        """Return log-likelihoods of products as the answers, [b, n]; -inf for those that nobody bought."""
        network, ids = self._network, self._ids
        device = network.tokens.weight.device
        task = task_of(prompts, None, rows, identifiers=True, device=str(device))
        if self._trie is None:
            scores = likelihoods(network, task, ids)
        elif offered is None:
            return found(network, task, ids, self._trie, width=width)
        else:
            places = torch.from_numpy(np.maximum(offered, 0).astype(np.int64)).to(device)
            values = judged(network, task, ids, np.maximum(offered, 0).astype(np.int64))
            real = torch.from_numpy(offered >= 0).to(device)
            scores = torch.full((len(rows), len(self.items)), -torch.inf, device=device)
            scores.scatter_reduce_(1, places, values.masked_fill(~real, -torch.inf), "amax")
        return scores.masked_fill(torch.from_numpy(~self._bought).to(device), -torch.inf)
