"""What all sequence models share: item inputs, training on every place of a history, early stop, scores, transfer.

A model file adds its layers: from embedded histories [b, L, d] to states [b, L, d], each state the forecast of the next
item. Scores are inner products of the last state with the item table. A model that reads texts can rank products that
nobody has bought and another shop's catalogue, and a wish in words turns the forecast towards products that read alike.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.queries import Queries
from tastemaker.errors import ConfigError, DataError
from tastemaker.models.parts.matrices import cooccurrence
from tastemaker.models.parts.sequential.sequence_ranker import SequenceRanker
from tastemaker.models.parts.texts.shopper_texts import shopper_vectors
from tastemaker.models.parts.texts.text_vectors import encoded_items, item_vectors
from tastemaker.neural import losses, objectives
from tastemaker.neural.batches import Batch, batch_of, blank_of, by_length, windows
from tastemaker.neural.blocks import initialise
from tastemaker.neural.training import loop
from tastemaker.neural.training.identity import training_identity
from tastemaker.neural.training.judging import Jury
from tastemaker.progress import silent
from tastemaker.recommender import Aids, check_tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.progress import Progress
    from tastemaker.types import Float32


class SequenceModel(SequenceRanker):
    """A recommender that reads a history in order."""

    @property
    def learnt_length(self) -> int:
        """Newest purchases of a history that training uses: the last of them is only a target."""
        return int(self.config.max_length) + 1

    def learn(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Train until validation gets no better, or for as many epochs as the last such fit found best.

        Raises:
            DataError: no shopper has two purchases, or texts are to be read and there are none.
        """
        self._check_pairs(train)
        texts = shoppers = None
        if self.config.inputs != "id":
            texts = item_vectors(train.items, self._reader, model=self.name, progress=progress)
        if self.config.shopper_texts:
            self._shopper_reader = copy.deepcopy(self._reader)
            shoppers = self._shopper_vectors(train.users, progress, fit=True)
        self._build(train.n_items, texts, shoppers, seed=seed)
        self._know(train.bought)
        self._start(train, seed=seed)
        if self.config.pretrain:
            self._pretrain(train, seed=seed, progress=progress)
        self._train(train, "fit", seed=seed, progress=progress)

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
        self._know(np.zeros(len(items), dtype=np.bool_))
        self._freeze()

    def reread(self, items: Entities) -> None:
        """Read other texts of the same products; own vectors and weights stay.

        Raises:
            NotFitted: `fit` or `load` comes first.
        """
        bought = self._bought if len(self.items) else None
        if self.config.inputs != "id" and bought is not None:
            network = copy.deepcopy(self._network)
            network.inputs.read(encoded_items(items, self._reader, model=self.name, progress=silent))
            self._network = network
            self._know(bought)
            self._freeze()
        self._items = items

    def tune(self, train: Dataset, *, aids: Aids | None = None, seed: int = 0, progress: Progress = silent) -> None:
        """Go on training from the present weights; see `Tunable`. A tuning that fails leaves the model as it was.

        Raises:
            DataError: no shopper has two purchases, or shopper texts are to be read and there are none.
        """
        check_tuning(self, train)
        self._check_pairs(train)
        before = dict(vars(self))
        try:
            self.aids, self._items = aids or Aids(), train.items
            self._network = copy.deepcopy(self._network)  # training works in place
            if self.config.inputs != "id":
                texts = encoded_items(train.items, self._reader, model=self.name, progress=progress)
                self._network.inputs.read(texts)
            if self._network.shoppers is not None:
                self._network.read_shoppers(self._shopper_vectors(train.users, progress))
            self._know(self._bought | train.bought)
            self._train(train, "tune", seed=seed, progress=progress)
        except BaseException:
            vars(self).update(before)
            raise

    def _check_pairs(self, train: Dataset) -> None:
        if train.queries().lengths.max(initial=0) < 2:
            raise DataError(
                f"{self.name}: no shopper has 2 purchases in the training part, so there is no order to learn; "
                "use popular or text_knn"
            )

    def _batches(self, train: Dataset, most: int) -> Callable[[np.random.Generator], Iterator[Batch]]:
        """Return what yields all histories of two and more in random order, long ones in windows of `most` items."""
        histories = windows(train.queries(), most, shared=most - self.config.max_length)
        rows = np.flatnonzero(histories.lengths > 1)
        lengths = np.minimum(histories.lengths[rows], most)

        def batches(rng: np.random.Generator) -> Iterator[Batch]:
            for group in by_length(lengths, self.config.batch_size, rng):
                yield batch_of(histories, rows[group], most, device=self.aids.device)

        return batches

    def _pretrain(self, train: Dataset, *, seed: int, progress: Progress) -> None:
        """Learn what `neural.objectives` ask before the next purchase is learnt."""
        config, name = self.config, f"{self.name}.pretraining"
        item_loss = losses.loss_of(config, train.n_items)

        def loss_of(batch: Batch) -> Tensor:
            table = self._network.inputs()
            rivals = None if config.inputs == "id" else torch.from_numpy(self._competing).to(table.device)

            def predict(states: Tensor, targets: Tensor) -> Tensor:
                if rivals is None:
                    return item_loss(states, table, targets)
                return item_loss(states, table[rivals], torch.searchsorted(rivals, targets))

            return objectives.loss(config.pretrain, self._network, table, batch, predict, config)

        checkpoint = self.aids.checkpoint(name)
        course = loop.train(
            self._network,
            loss_of,
            self._batches(train, config.max_length),
            replace(config.course(judged=False, epochs=config.pretrain_epochs), horizon=config.pretrain_epochs),
            seed=seed,
            checkpoint=checkpoint,
            identity="" if checkpoint is None else self._identity(train, "pretrain"),
            device=self.aids.device,
            threads=None if self.aids.threads == "measure" else self.aids.threads,
            on_epoch=self.aids.listener(name),
            progress=progress,
        )
        self._pretrained = loop.timeless(course.curve)

    def _train(self, train: Dataset, verb: str, *, seed: int, progress: Progress) -> None:
        checkpoint, batches = self.aids.checkpoint(self.name), self._batches(train, self.learnt_length)
        item_loss = losses.loss_of(self.config, train.n_items)
        jury, judge = self._jury(train, seed=seed), None
        if jury is not None and not jury.silent:
            judge = jury.ndcg(self._scorer, max_length=self.config.max_length)
        course = loop.train(
            self._network,
            lambda batch: self._loss(batch, item_loss),
            batches,
            self.config.course(judged=judge is not None, epochs=self.aids.epochs_for(self._course)),
            seed=seed,
            judge=judge,
            judges_start=verb == "tune",
            identity="" if checkpoint is None else self._identity(train, verb),
            **self.aids.of_training(self.name, self._course),
            progress=progress,
        )
        said = course.report(not_judged="" if jury is None else jury.silent)
        before_it = {"pretraining": self._pretrained} if verb == "fit" and self.config.pretrain else {}
        self._course = {**said, "loss": losses.loss_name(self.config, train.n_items), **before_it}
        self._freeze()

    def _identity(self, train: Dataset, verb: str) -> str:
        """Return what decides the course of a training, for its checkpoint."""
        readers = [self._reader] if self.config.inputs != "id" else []
        readers += [self._shopper_reader] if self._network.shoppers is not None else []
        facts = (self.name, verb, repr(self.config), train.fingerprint, *(reader.identity() for reader in readers))
        return training_identity(*facts, network=self._network, validation=self.aids.validation)

    def _shopper_vectors(self, users: Entities, progress: Progress, *, fit: bool = False) -> Float32:
        return shopper_vectors(users, self._shopper_reader, model=self.name, progress=progress, fit=fit)

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
            inputs.start(vectors)
        elif inputs.own is not None and vectors is not None:
            inputs.own.weight.data.copy_(torch.from_numpy(vectors))

    def _jury(self, train: Dataset, *, seed: int) -> Jury | None:
        """Return the questions that may end training, if there shall be any."""
        if self.aids.validation is None or not self.stops_early:
            return None
        return Jury.of(self.aids.validation, train, ranks_cold_items=self.ranks_cold_items, seed=seed)

    def _loss(self, batch: Batch, item_loss: losses.ItemLoss) -> Tensor:
        """Return the mean loss of the next item over all places."""
        known = replace(batch, items=batch.items[:, :-1], lengths=batch.lengths - 1)
        loss = self._loss_at(known, known.real, batch.items[:, 1:][known.real], item_loss)
        return self._with_first(loss, int((batch.lengths - 1).sum()), batch, item_loss)

    def _with_first(self, loss: Tensor, count: int, batch: Batch, item_loss: losses.ItemLoss) -> Tensor:
        """Return the mean of `loss`, itself a mean over `count` places, and that of first items by shopper texts alone.

        So a shopper of whom only a text is known gets an answer that was trained.
        """
        if self._network.shoppers is None or batch.shoppers is None:
            return loss
        told = self._network.told(batch.shoppers)
        if not told.any():
            return loss
        unread = blank_of(batch.shoppers[told])
        first = self._loss_at(unread, unread.real, batch.items[told, 0], item_loss)
        return (count * loss + len(unread.items) * first) / (count + len(unread.items))

    def _loss_at(self, asked: Batch, places: Tensor, targets: Tensor, item_loss: losses.ItemLoss) -> Tensor:
        """Return the mean loss of the forecasts at these places, bool [b, L], for targets int64 [N].

        Products known by text compete only if somebody has bought them: the others would be pushed down at every step,
        and with them all products whose texts are like theirs. A sampled loss reads the vectors of the products that
        take part, so its cost does not grow with the catalogue.
        """
        rivals = None if self.config.inputs == "id" else torch.from_numpy(self._competing).to(targets.device)
        if isinstance(item_loss, losses.SampledLoss):
            n_items = len(self._bought) if rivals is None else len(rivals)
            negatives = item_loss.draw(n_items, targets.device)
            negatives = negatives if rivals is None else rivals[negatives]
            read = torch.unique(torch.cat([asked.items.clamp(min=0).flatten(), targets, negatives]))
            table, items = self._network.inputs(read), torch.searchsorted(read, asked.items.contiguous())
            states = self._network(table, replace(asked, items=torch.where(asked.items < 0, asked.items, items)))
            targets, negatives = torch.searchsorted(read, targets), torch.searchsorted(read, negatives)
            return item_loss.among(states[places], table, targets, negatives, n_items=n_items)
        table = self._network.inputs()
        states = self._network(table, asked)[places]
        if rivals is None:
            return item_loss(states, table, targets)
        return item_loss(states, table[rivals], torch.searchsorted(rivals, targets))

    def _scorer(self) -> Callable[[Queries, NDArray[np.int64]], Tensor]:
        """Return what scores queries under the present weights."""
        table = self._network.inputs()
        unknown = torch.from_numpy(~self._rankable).to(table.device)
        return lambda queries, rows: (self._forecasts(queries, rows, table) @ table.t()).masked_fill_(
            unknown, -torch.inf
        )
