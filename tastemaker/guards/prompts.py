"""What a pipeline's stages say to their language models, read before any model is asked."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import DataError, LanguageModelError, LeakError, TastemakerError
from tastemaker.guards.rows import in_words
from tastemaker.guards.texts import LEAST_TITLE, plain
from tastemaker.lm.base import Completion, Prompt, Usage
from tastemaker.recommender import Calibrated
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.data.holdout import Holdout, Split
    from tastemaker.pipeline import Pipeline
    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32, Int32

SAMPLE = 12
"""Questions of each part whose prompts are read."""
COPIES = 20
"""A choice on validation wants many questions, so each is asked so often (or as often as the stage wants)."""
CONTROLS, FAR = 200, 3
"""Random items whose names are looked for in the same prompts, and how much oftener targets may not be found."""


class PromptRecorder:
    """A language model that keeps what it is asked and answers nothing: a `LikelihoodModel` of no cost.

    Attributes:
        asked: every prompt, in order.
    """

    name = fingerprint = "recorder"
    context = 1_000_000

    def __init__(self) -> None:
        self.usage = Usage()
        self.asked: list[Prompt] = []

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0
    ) -> list[Completion]:
        """Keep the prompts."""
        self._keep(prompts)

    def next_token(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Float32:
        """Keep the prompts."""
        self._keep(prompts)

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[Float32]:
        """Keep the prompts."""
        self._keep(prompts)

    def count_tokens(self, text: str | Prompt) -> int:
        """Return the number of words."""
        return len((text if isinstance(text, str) else text.user).split())

    def _keep(self, prompts: Sequence[Prompt]) -> NoReturn:
        self.asked.extend(prompts)
        raise LanguageModelError("this model only keeps what it is asked")


def check_prompts(pipeline: Pipeline, split: Split, *, seed: int = 0) -> dict[str, Any]:
    """Refuse prompts that name a target which is neither in the history nor among the candidates.

    For a few questions of validation and test each stage with a language model is run as a copy that speaks to a
    recorder, over candidates without the target; so nothing is asked, spent or counted.

    Args:
        pipeline: fitted; stays as it is.
        split: train, validation and test.
        seed: of the sample.

    Returns:
        The number of prompts that were read.

    Raises:
        LeakError: a prompt names a target.
        DataError: the pipeline ranks another catalogue than that of the split.
        NotFitted: the pipeline was not fitted.
    """
    read = 0
    for number, stage in enumerate(pipeline.stages):
        if stage.recommender.lm is None:
            continue
        if stage.recommender.items.digest != split.train.items.digest:
            raise DataError(
                f"{stage.recommender.name}: ranks another catalogue than that of the split, so its prompts cannot be "
                "checked; give the split that is asked"
            )
        recorder = PromptRecorder()
        model = _copy(stage.recommender, recorder)
        for name, part in (("validation", split.validation), ("test", split.test)):
            sample = part.sample(SAMPLE, seed=seed)
            candidates = _without_targets(pipeline, sample, upto=number)
            said = _said(model, recorder, sample, candidates, calibrating=name == "validation")
            read += sum(map(len, said))
            _check(said, f"prompts of {stage.recommender.name} name {name} targets", sample, candidates, split)
    return {"prompts_read": read} if read else {}


def _copy(stage: Recommender, recorder: PromptRecorder) -> Recommender:
    """Copy a stage with a recorder for its language model, wherever the stage keeps it."""
    shared = {id(part): part for part in (stage.encoder, stage.items)}
    return copy.deepcopy(stage, {id(stage.lm): recorder, **shared})


def _said(
    model: Recommender, recorder: PromptRecorder, sample: Holdout, candidates: Ranking | None, *, calibrating: bool
) -> list[list[Prompt]]:
    """Return what a stage says about each question when it ranks, or makes its choice on validation."""
    said = []
    for row in range(len(sample)):
        first = len(recorder.asked)
        one = sample.take(np.array([row]))
        offered = None if candidates is None else candidates.take(np.array([row]))
        with suppress(LanguageModelError):
            model.rank(one.queries, SAMPLE if offered is None else offered.items.shape[1], candidates=offered)
        if calibrating and candidates is not None and isinstance(model, Calibrated) and model.calibration_size > 0:
            rows = np.full(min(COPIES, model.calibration_size), row)
            with suppress(TastemakerError):  # a choice without answers may fail; the prompts are kept all the same
                model.calibrate(sample.take(rows), candidates=candidates.take(rows))
        said.append(recorder.asked[first:])
    return said


def _without_targets(pipeline: Pipeline, sample: Holdout, *, upto: int) -> Ranking | None:
    """Return what the stages before number `upto` offer, less each question's targets; None for the first stage."""
    ranking: Ranking | None = None
    for stage in pipeline.stages[:upto]:
        if stage.recommender.lm is None:
            width = stage.keep + int(sample.targets.lengths.max(initial=0))
            ranking = stage.recommender.rank(sample.queries, width, candidates=ranking)
        if ranking is not None:
            scores = ranking.scores.copy()
            for row, targets in enumerate(sample.targets):
                scores[row, np.isin(ranking.items[row], targets)] = -np.inf
            ranking = sort_lists(ranking.items, scores, stage.keep)
    return ranking


def _check(
    said: Sequence[Sequence[Prompt]], what: str, sample: Holdout, candidates: Ranking | None, split: Split
) -> None:
    """Refuse prompts in which names of targets are found that nothing shown brought there."""
    names = ItemNames(split.train.items)
    rng = np.random.default_rng(0)
    leaked: list[tuple[int, int]] = []
    asked = controls = by_chance = 0
    for row, prompts in enumerate(said):
        history, targets = sample.queries.history(row), np.unique(sample.targets.history(row))
        shown = history if candidates is None else np.union1d(history, candidates.items[row])
        text = _speakable("\n".join(f"{one.system}\n{one.user}\n{one.answer}" for one in prompts))
        found = names.in_text(text, np.setdiff1d(targets, history), shown[shown >= 0])
        leaked += [(row, item) for item in found]
        others = rng.integers(split.train.n_items, size=CONTROLS, dtype=np.int32)
        others = np.setdiff1d(others, np.concatenate([targets, shown]))
        by_chance += len(names.in_text(text, others, shown[shown >= 0]))
        asked, controls = asked + len(targets), controls + len(others)
    if len(leaked) * controls > FAR * by_chance * asked or (leaked and not controls):
        rows, items = np.array(leaked).T
        raise LeakError(
            what,
            in_words(split, sample.who()[rows], items, questions=rows),
            "Write prompts and profiles from the history and the candidates only",
        )


class ItemNames:
    """The names by which prompts call items: the title, in full or as it is cut, or what stands in for it."""

    def __init__(self, items: Entities) -> None:
        short = [_speakable(name) for name in item_names(items)]
        counts = Counter(short)
        has_title = "title" in items.frame.columns
        full = items.frame["title"].cast(str).fill_null("").to_list() if has_title else short
        self._names = [(one, _speakable(title)) for one, title in zip(short, full, strict=True)]
        self._distinct = [counts[one] == 1 for one in short]

    def in_text(self, text: str, items: Int32, shown: Int32) -> list[int]:
        """Return which items a text names by a long name of their own that is no part of the name of a shown item."""
        known = "\n".join(name for item in shown.tolist() for name in self._names[item])
        return [
            item
            for item in items.tolist()
            if self._distinct[item]
            and any(len(name) >= LEAST_TITLE and name in text and name not in known for name in self._names[item])
        ]


def _speakable(text: str) -> str:
    """Return a text as prompts show it, in one case: without double quotes, and without the mark of a cut."""
    return plain(text.replace('"', "'").replace("…", ""))
