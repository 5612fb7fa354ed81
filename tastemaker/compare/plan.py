"""What a comparison is made of: labelled configurations, protocol choices, and the jobs that follow from them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tastemaker
from tastemaker import config, registry
from tastemaker.errors import ConfigError
from tastemaker.evaluate import Options, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.evaluate.protocol import Repeats, Ties

FLOOR = ("popular", "transitions", "text_knn")
"""What costs no training; a claim that does not clear it is no claim."""
REFUSED = 2
"""Exit status of a job that cannot be done as it is asked; the reason is on the last line of its stdout."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a comparison.

    Attributes:
        label: its name in tables.
        settings: its configuration, as in a file.
        floor: whether it is part of the floor.
    """

    label: str
    settings: dict[str, Any]
    floor: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where data are read from.

    Attributes:
        path: folder, file or packaged name.
        format: as for `readers.read`, or None to find it out.
        max_bad: bad rows that may be left out.
    """

    path: str
    format: str | None = None
    max_bad: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the figures of a comparison.

    Attributes:
        entries: the models, floor first.
        data: what is asked.
        learn_from: what is learnt from, where that is another shop (cross-data).
        split: a name in `SPLITS`.
        repeats: see `evaluate.prepare`.
        ties: one or both.
        maskings: one or both.
        refits: one or both.
        seeds: of fitting, one fit each; split, sample and bootstrap keep the seed of `options`.
        options: what is measured.
    """

    entries: tuple[Entry, ...]
    data: Source
    learn_from: Source | None = None
    split: str = "leave-one-out"
    repeats: Repeats = "count"
    ties: tuple[Ties, ...] = ("file",)
    maskings: tuple[bool, ...] = (True,)
    refits: tuple[bool, ...] = (False,)
    seeds: tuple[int, ...] = (0,)
    options: Options = field(default_factory=lambda: Options(probe=True))

    @property
    def variants(self) -> list[Variant]:
        """All variants, in the order of tables."""
        return sorted(
            Variant(refit=refit, masking=masking, ties=ties)
            for refit in set(self.refits)
            for masking in set(self.maskings)
            for ties in set(self.ties)
        )

    def jobs(self) -> list[Job]:
        """Return the jobs, cheapest first as far as that can be known: floor, file order and first seed first."""
        return [
            Job(entry, self, ties, seed)
            for seed in self.seeds
            for ties in sorted(set(self.ties))
            for entry in self.entries
        ]


@dataclass(frozen=True, slots=True)
class Job:
    """One model, fitted with one seed on one order of ties; maskings and refits share it."""

    entry: Entry
    plan: Plan
    ties: Ties
    seed: int

    @property
    def label(self) -> str:
        """The job in words."""
        return f"{self.entry.label}, {self.ties} ties, seed {self.seed}"

    @property
    def variants(self) -> list[Variant]:
        """The variants that this job measures."""
        return [variant for variant in self.plan.variants if variant.ties == self.ties]

    def to_dict(self, *, fingerprints: Sequence[str]) -> dict[str, Any]:
        """Return all that decides the job's outcome, as JSON values; label and place of the data do not."""
        plan = self.plan
        return {
            "tastemaker": tastemaker.__version__,
            "settings": self.entry.settings,
            "data": list(
                fingerprints[:1] if self.entry.floor else fingerprints
            ),  # the floor learns from the shop itself
            "split": plan.split,
            "repeats": plan.repeats,
            "ties": self.ties,
            "maskings": sorted(set(plan.maskings)),
            "refits": sorted(set(plan.refits)),
            "seed": self.seed,
            "options": asdict(plan.options),
        }

    def key(self, *, fingerprints: Sequence[str]) -> str:
        """Return the name under which the outcome is kept."""
        text = json.dumps(self.to_dict(fingerprints=fingerprints), sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def entries(sources: Sequence[str], *, floor: bool = True, overrides: Sequence[str] | None = None) -> tuple[Entry, ...]:
    """Read configurations, check them, and put the floor before them.

    Args:
        sources: TOML files or model names; "label=source" gives a row its name.
        floor: whether the floor that is not among the sources is added.
        overrides: "key=value" for all of `sources`, not for the floor.

    Raises:
        ConfigError: an unknown file, model or setting, or a label given twice.
    """
    asked = []
    for source in sources:
        label, equals, place = source.partition("=")
        if not equals:
            label, place = Path(source).stem if source.endswith(".toml") else source, source
        settings = config.read(place, overrides=list(overrides or []))
        registry.build(settings, place=place)
        asked.append(Entry(label, settings, floor=label in FLOOR and not overrides and place in FLOOR))
    twice = [label for label, count in Counter(entry.label for entry in asked).items() if count > 1]
    if twice:
        raise ConfigError(f"two models are called {twice[0]!r}; name them, e.g. plain=first.toml tuned=second.toml")
    missing = [name for name in FLOOR if name not in {entry.label for entry in asked}] if floor else []
    added = [Entry(name, config.read(name), floor=True) for name in missing]
    return (*added, *sorted(asked, key=lambda entry: not entry.floor))
