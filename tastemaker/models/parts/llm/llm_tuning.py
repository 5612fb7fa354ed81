"""A ranker's language model tuned on instruction pairs of the training data: the part that such rankers share.

PALR (arXiv 2305.07622) tunes on "recommend" alone (v1) or together with "recommend_retrieval" (v2); TALLRec (arXiv
2305.00447) on "yes_no". The task "catalogue" is continued pre-training on what the shop says of its products and on
training histories, which makes a general model one of this shop.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tastemaker.configurable import array_text, text_array, under
from tastemaker.errors import ArtifactError, ConfigError
from tastemaker.lm.build import innermost, rewrapped
from tastemaker.neural.language.lm_settings import TuningConfig
from tastemaker.text.instructions.catalogue import Catalogue
from tastemaker.text.instructions.examples import ExampleConfig, draw_examples
from tastemaker.text.instructions.tasks import Task, instruction_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.lm.adapting import Adapter
    from tastemaker.lm.base import LanguageModel
    from tastemaker.lm.local import LocalLM
    from tastemaker.neural.language.lm_tuning import Texts
    from tastemaker.progress import Progress
    from tastemaker.recommender import Aids
    from tastemaker.text.instructions.tasks import InstructionPair, Profiles
    from tastemaker.text.prompting.wordings import Wording
    from tastemaker.types import Int32

NOBODY = np.empty(0, dtype=np.int32)


class RankerTuning(TuningConfig, ExampleConfig):
    """How a ranker's language model is tuned: table `[stage.tuning]`.

    Attributes:
        tasks: what is trained; empty for what the ranker asks. "catalogue" is continued pre-training on products' texts
            and histories.
        share: of the shoppers who bought enough, drawn at random (PALR: 0.2).
        cuts: places at which each of these shoppers' histories is cut into history and targets: the newest possible
            one, and random earlier ones.
        targets: products after the cut that are to be recommended; 1 is what letter likelihoods are read for.
        swap: chance that a product of the history and a target change places (PALR).
        fill: histories shorter than this are filled up, before the oldest product, over three hops (PALR); 0 fills
            none.
        negatives: where the other candidates come from: "similar" (PALR); "mined", the best of a co-occurrence table;
            "retrieved", the same without the shopper in question, and only where it offers the targets too; "random".
        method, rank, alpha, dropout, modules, tuned_layers, virtual_tokens: what is trained, see `AdapterConfig`.
        epochs, batch_size, at_once, packing, learning_rate, weight_decay, schedule, warmup, clip, held_out, patience,
            round_steps, max_tokens, precision: how, see `TuningConfig`.
    """

    tasks: tuple[Task | Literal["catalogue"], ...] = ()


class RankerTuner:
    """Tunes the language model of one ranker, and keeps what was learnt.

    Args:
        config: how; None leaves the model as it is.
        model: name of the ranker, for messages, checkpoints and curves.
        tasks: what the ranker asks.

    Attributes:
        adapter: what was learnt; None before, and without tuning.
    """

    def __init__(self, config: RankerTuning | None, *, model: str, tasks: Sequence[Task]) -> None:
        self.config = config
        self._model = model
        self._tasks = config.tasks if config is not None and config.tasks else tuple(tasks)
        self.adapter: Adapter | None = None
        self._base = ""
        self._course: dict[str, Any] = {}
        self._purchases = (NOBODY, NOBODY)

    def learn(
        self,
        lm: LanguageModel | None,
        train: Dataset,
        *,
        history: int,
        candidates: int,
        profiles: Profiles | None,
        wording: Wording,
        aids: Aids,
        further: bool = False,
        seed: int,
        progress: Progress,
    ) -> LanguageModel | None:
        """Tune and return the language model that the ranker is to ask.

        Args:
            lm: with its wrappers (cache, budget), which stand around the tuned one too.
            train: where pairs come from.
            history: newest products of a history that are told.
            candidates: that are offered.
            profiles: writes the profile part; None for none.
            wording: of the questions.
            aids: device, checkpoints, listener.
            further: go on from what was learnt before, instead of from the model as it was loaded.
            seed: of pairs and training.
            progress: shown over the work.

        Raises:
            ConfigError: there is no model that runs here, or the method does not fit it.
            DataError: there is nothing to make pairs of.
        """
        if self.config is None:
            return lm
        from tastemaker.lm.adapting import untuned
        from tastemaker.neural.language import lm_tuning

        inner = self._local(lm)
        start = inner if further else untuned(inner)
        told = [task for task in self._tasks if task != "catalogue"]
        pairs: list[InstructionPair] = []
        if told:
            drawn = draw_examples(train, self.config, history=history, candidates=candidates, seed=seed)
            pairs = instruction_pairs(drawn, train.items, told, profiles=profiles, wording=wording, seed=seed)
        bought = sorted({(pair.user, pair.item) for pair in pairs if pair.answer != "No"})
        self._purchases = _columns(bought)
        shop = Catalogue.of(train, held_out=self.config.held_out, seed=seed) if "catalogue" in self._tasks else None
        tuned, course = lm_tuning.tune(
            start,
            partial(self._texts, pairs=pairs, shop=shop, seed=seed),
            self.config,
            aids=aids,
            name=self._model,
            seed=seed,
            progress=progress,
        )
        self.adapter, self._base = tuned.adapter, tuned.weights
        self._course = {"pairs": dict(Counter(pair.task for pair in pairs)), **course.report()}
        if shop is not None and shop.held_out:
            self._course["perplexity_of_products_held_out"] = {
                when: round(self._perplexity(one, shop), 3) for when, one in (("before", start), ("after", tuned))
            }
        return tuned if lm is None else rewrapped(lm, tuned)

    def restore(self, lm: LanguageModel | None, arrays: dict[str, NDArray[Any]]) -> LanguageModel | None:
        """Take back what `arrays` returned, and return the language model that the ranker is to ask.

        Raises:
            ConfigError: there is no model that runs here.
            ArtifactError: what was learnt belongs to another one, or does not fit it.
        """
        if not arrays:
            return lm
        from tastemaker.lm.adapting import Adapter, adapted

        self.adapter = Adapter.of_arrays(under(arrays, "adapter"))
        self._course = json.loads(array_text(arrays["course"]))
        self._purchases = (arrays["users"], arrays["items"])
        inner, self._base = self._local(lm), array_text(arrays["base"])
        if inner.weights != self._base:
            raise ArtifactError(
                f"{self._model}: the adapter belongs to other weights ({self._base}) than those of {inner.name} "
                f"({inner.weights}); name the model that was tuned in [lm], or tune again"
            )
        tuned = adapted(inner, self.adapter)
        return tuned if lm is None else rewrapped(lm, tuned)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the adapter in PEFT's names, the course, and the purchases that pairs were made of."""
        if self.adapter is None:
            return {}
        from tastemaker.neural.training.loop import timeless

        course = {**self._course, "learning_curve": timeless(self._course["learning_curve"])}
        return {
            **{f"adapter.{name}": array for name, array in self.adapter.arrays().items()},
            "course": text_array(json.dumps(course)),
            "base": text_array(self._base),
            "users": self._purchases[0],
            "items": self._purchases[1],
        }

    def learnt_from(self) -> dict[str, tuple[Int32, Int32]]:
        """Return the purchases that pairs were made of."""
        return {"tuning pairs": self._purchases} if len(self._purchases[0]) else {}

    def report(self) -> dict[str, Any]:
        """Return how tuning went; nothing without tuning."""
        return {"tuning": self._course} if self._course else {}

    def _texts(self, student: LocalLM, *, pairs: Sequence[InstructionPair], shop: Catalogue | None, seed: int) -> Texts:
        """Put all that is learnt into tokens; held-out pairs are judged, and held-out products where there are none."""
        from tastemaker.neural.language import lm_tuning

        config = self._set
        users = sorted({pair.user for pair in pairs})
        aside = set(np.random.default_rng(seed).permutation(users)[: int(config.held_out * len(users))].tolist())
        rows, long = lm_tuning.rows_of_pairs(
            student, [pair for pair in pairs if pair.user not in aside], max_tokens=config.max_tokens
        )
        held_out, _ = lm_tuning.rows_of_pairs(
            student, [pair for pair in pairs if pair.user in aside], max_tokens=config.max_tokens
        )
        if shop is not None:
            rows += lm_tuning.rows_of_texts(student, shop.texts, max_tokens=config.max_tokens)
            held_out = held_out or lm_tuning.rows_of_texts(student, shop.held_out, max_tokens=config.max_tokens)
        return lm_tuning.Texts(tuple(rows), tuple(held_out), long)

    def _perplexity(self, lm: LocalLM, shop: Catalogue) -> float:
        from tastemaker.neural.language import lm_tuning

        rows = lm_tuning.rows_of_texts(lm, shop.held_out, max_tokens=self._set.max_tokens)
        return lm_tuning.perplexity(lm, rows, at_once=self._set.at_once)

    def _local(self, lm: LanguageModel | None) -> LocalLM:
        """Return the model within its wrappers, if it is one that can be tuned.

        Raises:
            ConfigError: it is none.
        """
        if lm is None:
            raise ConfigError(f"{self._model}.tuning: no [lm] is set; name a model that runs here")
        from tastemaker.lm.local import LocalLM

        inner = innermost(lm)
        if not isinstance(inner, LocalLM):
            raise ConfigError(f"{self._model}.tuning: {lm.name} does not run here; name a model in [lm] model")
        return inner

    @property
    def _set(self) -> RankerTuning:
        if self.config is None:
            raise ConfigError(f"{self._model}: there is no table [stage.tuning]")
        return self.config


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Int32, Int32]:
    users, items = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    return np.ascontiguousarray(users), np.ascontiguousarray(items)
