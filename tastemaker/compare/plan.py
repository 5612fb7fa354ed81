"""What a comparison is made of: labelled configurations, protocol choices, and the jobs that follow from them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker import config, provenance, registry
from tastemaker.errors import ConfigError
from tastemaker.evaluate import Options, Variant
from tastemaker.evaluate.protocol import require_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.evaluate.protocol import Repeats, Ties

FLOOR: dict[str, dict[str, Any]] = {
    name: {"stage": [{"model": name}]} for name in ("popular", "transitions", "text_knn")
}
"""Label -> settings of what costs no training; a claim that does not clear it is no claim."""
FORMAT = 2
"""Of what is kept of a job; another number means that every job is done again."""
REFUSED = 2
"""Exit status of a job that cannot be done as it is asked; the reason is on the last line of its stdout."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a comparison.

    Attributes:
        label: its name in tables.
        settings: its configuration, as in a file.
        floor: whether it is part of the floor, and then learns from the shop itself.
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
    """Everything that decides the figures of a comparison; a plan that cannot be is refused (ConfigError).

    Attributes:
        entries: the models, floor first, each label once.
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

    def __post_init__(self) -> None:
        for name in ("entries", "ties", "maskings", "refits", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: none given; a comparison needs at least one")
        twice = [label for label, count in Counter(entry.label for entry in self.entries).items() if count > 1]
        if twice:
            raise ConfigError(f"two models are called {twice[0]!r}; give each its own label")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds {list(self.seeds)}: must be different numbers from 0 on")
        for ties in self.ties:
            require_known(split=self.split, ties=ties, repeats=self.repeats)

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

    def to_dict(self, *, shops: Sequence[str]) -> dict[str, Any]:
        """Return all that decides the job's outcome, as JSON values; label and place of the data do not.

        Args:
            shops: digest of the shop that is asked, and of the one that is learnt from where that is another.
        """
        plan = self.plan
        return {
            "format": FORMAT,
            "code": provenance.code_digest(),
            "versions": provenance.versions(),
            "settings": self.entry.settings,
            "shops": list(shops[:1] if self.entry.floor else shops),
            "split": plan.split,
            "repeats": plan.repeats,
            "ties": self.ties,
            "maskings": sorted(set(plan.maskings)),
            "refits": sorted(set(plan.refits)),
            "seed": self.seed,
            "options": asdict(plan.options),
        }

    def key(self, *, shops: Sequence[str]) -> str:
        """Return the name under which the outcome is kept."""
        return digest(self.to_dict(shops=shops))


def digest(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a short SHA-256 of a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def entries(
    sources: Sequence[str],
    *,
    floor: bool = True,
    overrides: Sequence[str] | None = None,
    learn_from: bool = False,
    device: str | None = None,
) -> tuple[Entry, ...]:
    """Read configurations, check them, and put the floor before them.

    A model of the floor that is asked for by its name, with its defaults, is the floor row. A label of the floor that
    stands for anything else is not: the floor row is then called e.g. "transitions (floor)".

    Args:
        sources: TOML files or model names; "label=source" gives a row its name, unless a file is called that.
        floor: whether the floor is put before the sources.
        overrides: "key=value" for all of `sources`, not for the floor.
        device: where encoders and language models of `sources` work unless they name one; None for as they say.
        learn_from: whether `sources` learn from another shop; none of them is the floor then, which learns at home.

    Raises:
        ConfigError: an unknown file, model or setting, or a label given twice.
    """
    asked = []
    for source in sources:
        label, place = _named(source)
        settings = registry.on_device(config.read(place, overrides=list(overrides or [])), device)
        registry.build(settings, place=place)
        is_floor = floor and not learn_from and settings == FLOOR.get(label)
        asked.append(Entry(label, settings, floor=is_floor))
    taken = Counter(entry.label for entry in asked)
    twice = [label for label, count in taken.items() if count > 1]
    if twice:
        raise ConfigError(f"two models are called {twice[0]!r}; name them, e.g. plain=first.toml tuned=second.toml")
    there = {entry.label for entry in asked if entry.floor}
    added = [
        Entry(_free(name, taken), settings, floor=True)
        for name, settings in FLOOR.items()
        if floor and name not in there
    ]
    return (*added, *sorted(asked, key=lambda entry: not entry.floor))


def _named(source: str) -> tuple[str, str]:
    """Return the label and the file or model of "label=source"."""
    label, equals, place = source.partition("=")
    if not equals or Path(source).is_file():
        return (Path(source).stem if source.endswith(".toml") else source), source
    return label, place


def _free(label: str, taken: Counter[str]) -> str:
    """Return the label of a floor row that no other row has."""
    while label in taken:
        label += " (floor)"
    return label
