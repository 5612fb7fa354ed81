"""What a pipeline's stages say to their language models, read before any model is asked."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from tastemaker.abilities import Calibrated, Demonstrating
from tastemaker.data.ranking import Ranking, sort_lists
from tastemaker.errors import DataError, LanguageModelError, LeakError, TastemakerError
from tastemaker.guards.chance import beyond_chance
from tastemaker.guards.names import LEAST_TITLE, ItemNames, Text, has_word, plain
from tastemaker.guards.rows import in_words
from tastemaker.lm.base import Completion, Prompt, Usage
from tastemaker.text.render import item_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.data.splits import Holdout, Split
    from tastemaker.pipeline import Pipeline
    from tastemaker.recommender import Recommender
    from tastemaker.types import Float32, Int32

SAMPLE = 12
"""Questions of each part whose prompts are read."""
COPIES = 20
"""A choice on validation wants many questions, so each is asked so often (or as often as the stage wants)."""
CONTROLS, FAR = 200, 3
"""Random items whose names are looked for in the same prompts, and how much oftener targets may not be found."""

LEAST_ID = 4
"""Characters from which on an id is no number that any prompt may have."""


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


class _Found(NamedTuple):
    """What was looked for in the prompts of one part, and found.

    Attributes:
        rows, items: targets that prompts name.
        certain: number of these that are named by a long title of their own.
        by_chance, controls: other items that are named, and that were looked for.
        asked, checkable: targets that were looked for, and those of them with a name that nothing shown shares.
    """

    rows: list[int]
    items: list[int]
    certain: int
    by_chance: int
    controls: int
    asked: int
    checkable: int


def check_prompts(pipeline: Pipeline, split: Split, *, seed: int = 0) -> dict[str, Any]:
    """Refuse prompts that name a target which is neither in the history nor among the candidates.

    For a few questions of validation and test each part with a language model, the fallback too, is run as a copy that
    speaks to a recorder, over candidates without the target; so nothing is asked, spent or counted. One long title that
    no other product has is enough. Ids, short and shared titles, and most words of a title in any order count if
    targets are named so beyond chance (`beyond_chance`). Words of titles, keywords, brands and categories that are
    shown anyway count for nothing; so do products that demonstrations show (`Demonstrating`), where these are other
    shoppers' interactions in the training data.

    Args:
        pipeline: fitted; stays as it is.
        split: train, validation and test.
        seed: of the sample.

    Returns:
        The number of prompts that were read, of targets that were looked for, and of those with a name of their own.

    Raises:
        LeakError: a prompt names a target.
        DataError: the pipeline ranks another catalogue than that of the split.
        NotFitted: the pipeline was not fitted.
    """
    speaking = [(prefix, part) for prefix, part in pipeline.parts.items() if part.lm is not None]
    if not speaking:
        return {}
    names = _PromptNames(split.train.items)
    read = asked = checkable = 0
    for prefix, part in speaking:
        if part.items.digest != split.train.items.digest:
            raise DataError(
                f"{part.name}: ranks another catalogue than that of the split, so its prompts cannot be checked; give "
                "the split that is asked"
            )
        recorder = PromptRecorder()
        model = _copy(part, recorder)
        for name, holdout in (("validation", split.validation), ("test", split.test)):
            sample = holdout.sample(SAMPLE, seed=seed)
            candidates = _without_targets(pipeline, sample, upto=int(prefix)) if prefix.isdigit() else None
            said = _said(model, recorder, sample, candidates, calibrating=name == "validation")
            demonstrated = _demonstrated(model, sample, split)
            found = _look(said, sample, candidates, names, demonstrated, bought=split.refit.log["item"].to_numpy())
            _refuse(found, f"prompts of {part.name} name {name} targets", sample, split)
            read += sum(map(len, said))
            asked, checkable = asked + found.asked, checkable + found.checkable
    return {"prompts_read": read, "targets_looked_for": asked, "targets_checkable": checkable}


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


def _demonstrated(model: Recommender, sample: Holdout, split: Split) -> list[Int32]:
    """Return the items that a question's demonstrations show rightfully: others' purchases, in the training data."""
    if not isinstance(model, Demonstrating):
        return [np.empty(0, dtype=np.int32)] * len(sample)
    n = split.refit.n_items
    known = split.refit.log["user"].to_numpy().astype(np.int64) * n + split.refit.log["item"].to_numpy()
    return [
        items[np.isin(users.astype(np.int64) * n + items, known) & (users != asking)]
        for (users, items), asking in zip(model.demonstrated(sample.queries), sample.who(), strict=True)
    ]


def _look(
    said: Sequence[Sequence[Prompt]],
    sample: Holdout,
    candidates: Ranking | None,
    names: _PromptNames,
    demonstrated: Sequence[Int32],
    *,
    bought: Int32,
) -> _Found:
    """Look for the targets of each question in its prompts, and for other items, each as often as it is bought."""
    rng = np.random.default_rng(0)
    rows: list[int] = []
    items: list[int] = []
    certain = by_chance = controls = asked = checkable = 0
    for row, prompts in enumerate(said):
        if not prompts:
            continue
        history = sample.queries.history(row)
        shown = np.union1d(history, demonstrated[row])
        shown = shown if candidates is None else np.union1d(shown, candidates.items[row])
        targets = np.setdiff1d(sample.targets.history(row), shown)
        others = rng.choice(np.concatenate([bought, targets]), CONTROLS)
        others = others[~np.isin(others, np.concatenate([sample.targets.history(row), shown]))]
        text = Text.of(_speakable("\n".join(f"{one.system}\n{one.user}\n{one.answer}" for one in prompts)))
        view = names.beside(shown[shown >= 0])
        for item in targets.tolist():
            if view.named(text, item):
                rows.append(row)
                items.append(item)
                certain += view.certain(text, item)
            checkable += view.checkable(item)
        by_chance += sum(view.named(text, item) for item in others.tolist())
        asked, controls = asked + len(targets), controls + len(others)
    return _Found(rows, items, certain, by_chance, controls, asked, checkable)


def _refuse(found: _Found, what: str, sample: Holdout, split: Split) -> None:
    """Refuse prompts that name targets for certain, or beyond chance."""
    certain = found.certain * found.controls > FAR * found.by_chance * found.asked or not found.controls
    if (found.certain and certain) or beyond_chance(len(found.rows), found.asked, found.by_chance, found.controls):
        rows, items = np.array(found.rows), np.array(found.items)
        raise LeakError(
            what,
            in_words(split, sample.who()[rows], items, questions=rows),
            "Write prompts and profiles from the history and the candidates only",
        )


class _PromptNames:
    """The names by which prompts call items: the title, in full or as it is cut, or what stands in for it."""

    def __init__(self, items: Entities) -> None:
        self.names = ItemNames(items)
        self.short = [_speakable(name) for name in item_names(items)]
        counts = Counter(self.short)
        self.distinct = [counts[one] == 1 for one in self.short]

    def beside(self, shown: Int32) -> _View:
        """Return what a prompt may say that shows some items."""
        return _View(self, shown)


class _View:
    """Names in a prompt that shows some items: what these say anyway is no name."""

    def __init__(self, names: _PromptNames, shown: Int32) -> None:
        self._names = names
        self._known = names.names.known(shown)
        self._shown = "\n".join([self._known.text, *(names.short[item] for item in shown.tolist())])

    def named(self, text: Text, item: int) -> bool:
        """Say whether a text names an item in any way."""
        short = self._names.short[item]
        own = short not in self._shown and has_word(text.plain, short)
        return own or self._names.names.named(text, item, self._known)

    def certain(self, text: Text, item: int) -> bool:
        """Say whether a text names an item by a long title that no other product has."""
        ways = {self._names.short[item], _speakable(self._names.names.titles[item])}
        long = [way for way in ways if len(way) >= LEAST_TITLE and way in text.plain and way not in self._shown]
        return bool(long) and self._names.distinct[item]

    def checkable(self, item: int) -> bool:
        """Say whether an item has a name that nothing shown shares, long enough to tell it from any other word."""
        return self._names.short[item] not in self._shown or len(self._names.names.ids[item]) >= LEAST_ID


def _speakable(text: str) -> str:
    """Return a text as prompts show it, in one case: without double quotes, and without the mark of a cut."""
    return plain(text.replace('"', "'").replace("…", ""))
