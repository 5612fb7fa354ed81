"""Experiments in answers: the variant that a shopper sees, lists of variants mixed, places shuffled to learn from."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field

from tastemaker.configurable import Config, parse_config
from tastemaker.experiments import assign_first, interleave
from tastemaker.experiments.exploring import explore
from tastemaker.serve.engine.asks import Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.experiments import Experiment
    from tastemaker.serve.engine.asks import Answer, Ask
    from tastemaker.serve.engine.engine import Engine

PINNED = "rule:pinned"
"""The source of products that business rules put where they are."""


class Exploration(Config):
    """Lists shuffled now and then, so that other policies can be judged by them (`tastemaker experiment replay`).

    Attributes:
        top: how many first places take part; those of pins do not.
        epsilon: how often they are shuffled.
    """

    top: int = Field(default=10, ge=2, le=100)
    epsilon: float = Field(default=0.1, gt=0, le=1)


class VariantSettings(Config):
    """What the service does for a variant.

    Attributes:
        strategy: who answers.
        diversity: 0 for the best list, up to 1 for a varied one.
        explore: whether places are shuffled now and then, and how; not for interleaved lists.
    """

    strategy: Strategy | None = None
    diversity: float | None = Field(default=None, ge=0, le=1)
    explore: Exploration | None = None


def check_settings(experiment: Experiment) -> None:
    """Check what the variants of an experiment ask of the service.

    Raises:
        ConfigError: a setting that it does not have, or a bad value.
    """
    for place, variant in enumerate(experiment.variants):
        parse_config(VariantSettings, variant.settings, place=f"experiment.variants.{place}.settings")


async def answer(engine: Engine, ask: Ask, experiments: Sequence[Experiment]) -> Answer:
    """Answer a request, as the shopper's variant of a running experiment says.

    Lists of the caller's own candidates, previews, and those of unknown shoppers take no part.
    """
    if not experiments or ask.preview or ask.offered is not None or ask.user_id is None:
        return await engine.recommend(ask)
    drawn = assign_first(experiments, ask.user_id, now=time.time_ns() // 1_000_000)
    if drawn is None:
        return await engine.recommend(ask)
    experiment, variant = drawn
    if experiment.kind == "interleave":
        return await _mixed(engine, ask, experiment)
    found = await _of_variant(engine, ask, experiment, variant)
    explores = experiment.settings(variant).get("explore")
    if explores is not None:
        _explore(found, parse_config(Exploration, explores, place="explore"))
    found.experiment, found.variant = experiment.name, variant
    return found


async def _of_variant(engine: Engine, ask: Ask, experiment: Experiment, variant: str) -> Answer:
    given = experiment.settings(variant)
    changes: dict[str, Any] = {}
    if given.get("strategy") in get_args(Strategy):
        changes["strategy"] = given["strategy"]
    if isinstance(given.get("diversity"), int | float):
        changes["diversity"] = min(1.0, max(0.0, float(given["diversity"])))
    return await engine.recommend(dataclasses.replace(ask, **changes), variants={experiment.name: variant})


async def _mixed(engine: Engine, ask: Ask, experiment: Experiment) -> Answer:
    """Answer with the lists of all variants mixed; with the control's alone where the catalogue changed meanwhile."""
    names = experiment.names
    answers = await asyncio.gather(*(_of_variant(engine, ask, experiment, name) for name in names))
    found = answers[0]
    if any(other.shelf is not found.shelf or other.model_version != found.model_version for other in answers):
        return found
    by_name = {name: {one.number: one for one in other.items} for name, other in zip(names, answers, strict=True)}
    mixed = interleave({name: list(listed) for name, listed in by_name.items()}, ask.n, key=found.request_id)
    found.items = [by_name[team][number] for number, team in zip(mixed.items, mixed.teams, strict=True)]
    found.experiment, found.variant = experiment.name, mixed.variant or None
    found.degraded = list(dict.fromkeys(line for other in answers for line in other.degraded))
    found.notes = list(dict.fromkeys(line for other in answers for line in other.notes))
    found.took_ms = 1e3 * (time.perf_counter() - ask.started)
    return found


def _explore(found: Answer, asked: Exploration) -> None:
    """Shuffle the first places now and then, and note how probable each product was at its place."""
    fixed = [place for place, one in enumerate(found.items) if one.source == PINNED]
    items, chances = explore(
        found.items, len(found.items), top=asked.top, epsilon=asked.epsilon, key=found.request_id, fixed=fixed
    )
    found.items, found.propensities = items, tuple(chances)
