"""From lists to figures: all measures, by group of questions, after each stage, and for shorter histories."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker import metrics
from tastemaker.evaluate.lists import COLD_ASKED, COLD_LENGTHS, with_newest
from tastemaker.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.data.splits import Holdout, Split
    from tastemaker.evaluate.lists import Lists
    from tastemaker.evaluate.protocol import Options
    from tastemaker.metrics import Catalogue, Groups, Measured
    from tastemaker.pipeline import Pipeline

Rows = list[dict[str, Any]]


def slices(measured: Measured, groupings: Sequence[Groups], options: Options) -> Rows:
    """Return the headline measure and recall of every group of questions."""
    _, at, k = options.measure.partition("@")
    wanted = {name: measured.values[name] for name in (options.measure, f"recall{at}{k}")}
    rows: Rows = []
    for groups in groupings:
        rows += metrics.by_group(wanted, groups, seed=options.seed)
    return rows


def groupings(
    test: Holdout, split: Split, catalogue: Catalogue, options: Options, *, refit: bool = False
) -> list[Groups]:
    """Put the questions into groups, in every way that is wanted.

    Args:
        test: the questions.
        split: popularity and age of targets are those of its train part.
        catalogue: made from the same part.
        options: which columns to group by.
        refit: whether that part is train + validation.

    Raises:
        DataError: a column that groups are wanted by is unknown.
    """
    asking = replace(test.queries, users=test.who())
    age = metrics.by_target_age(test.targets, split.refit if refit else split.train)
    return [
        metrics.by_history_length(test.queries),
        metrics.by_target_popularity(test.targets, catalogue),
        *([] if age is None else [age]),
        *(metrics.by_user(column, asking, split.train.users) for column in options.user_groups),
        *(metrics.by_item(column, test.targets, split.train.items) for column in options.item_groups),
    ]


def of_stages(
    pipeline: Pipeline, lists: Lists, test: Holdout, options: Options, *, counts: Mapping[int, Mapping[str, int]]
) -> Rows:
    """Say for each stage what its lists are worth, and what it added to or took from the stage before.

    Args:
        pipeline: after ranking.
        lists: its lists.
        test: the questions.
        options: list lengths and seed.
        counts: what language-model stages counted while these very lists were made, by stage number.
    """
    reports: Rows = []
    before = None
    for number, (stage, ranking) in enumerate(zip(pipeline.stages, lists.by_stage, strict=True)):
        measured = metrics.per_query(ranking, test.targets, options.ks)
        report: dict[str, Any] = {
            "model": stage.recommender.name,
            "config": stage.recommender.config.model_dump(mode="json"),
            "metrics": metrics.summarise(measured, seed=options.seed),
        }
        if before is not None:
            changes = {name: values - before[name] for name, values in measured.items()}
            report["change"] = metrics.summarise(changes, seed=options.seed)
        own = {"counts": dict(counts[number])} if number in counts else {}
        reports.append({**report, "report": {**stage.recommender.report(), **own}})
        before = measured
    return reports


def cold_start(
    pipeline: Pipeline, test: Holdout, options: Options, *, masking: bool, progress: Progress = silent
) -> Rows:
    """Ask for the same shoppers with only their newest purchases shown, as if they were new to the shop.

    What they bought before is hidden from the question, so a masked list masks only what is shown. It is not hidden
    from the fit: in the splits whose shoppers are in train, counts and vectors of products were learnt from it too. A
    model that compares shoppers is told who asks and leaves his own row out. The cuts are those of COLD_LENGTHS below
    the median history, and only shoppers with more than the longest cut are asked: every point is about the same
    people, and each cut takes something away.
    """
    cuts = [length for length in COLD_LENGTHS if length < np.median(test.queries.lengths)]
    if not cuts:
        return []
    asked = test.take(np.flatnonzero(test.queries.lengths > max(cuts))).sample(COLD_ASKED, seed=options.seed)
    _, at, k = options.measure.partition("@")
    rows: Rows = []
    for length in progress([*cuts, None], label="cold start"):
        queries = with_newest(asked, length)
        found = metrics.per_query(pipeline.rank(queries, int(k), seen=not masking), asked.targets, (int(k),))
        means = {name: float(found[name].mean()) for name in (options.measure, f"recall{at}{k}")}
        rows.append({"length": length, "queries": len(asked), **means})
    return rows
