"""Benchmarks and the figures that others published on them, read from the TOML files beside this one, strictly."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from tastemaker.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from tastemaker.data.dataset import Dataset

Kind = Literal["paper", "rerun", "record"]
Checked = Literal["read", "second-hand", "not read again"]
Ties = Literal["file", "random"]
SPLITS = ("leave-one-out", "as-given")
MEASURES = frozenset(f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate", "mrr") for k in (5, 10, 20))
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a source reports for one model on one benchmark.

    Attributes:
        model: its name, with what tells it from others of that name.
        kind: "paper" (as its authors report it), "rerun" (somebody's later run), "record" (a rerun whose configuration
            or log is public and that stands high).
        source: paper, repository or issue.
        checked: how we know: "read" at the source or in full copies of its table that agree, "second-hand" from a text
            that quotes it, "not read again" for a figure from the literature whose source could not be opened.
        masked: whether products of the history are kept out of the lists; None where not stated.
        seeds: number of runs behind the mean; None where not stated.
        comparable: whether it may stand in one table with full-ranking figures of this benchmark.
        refit: whether the model was fitted on train + validation before test; None where not stated.
        ties: how purchases of one moment are ordered, "file" or "random"; None where not stated.
        sampled: whether the target was ranked among sampled products only.
        split, data: what differs from the benchmark's own; empty where the source says that nothing does.
        note: what one must know to read it.
        values: measure -> value.
    """

    model: str
    kind: Kind
    source: str
    checked: Checked
    masked: bool | None
    seeds: int | None = None
    comparable: bool = True
    refit: bool | None = None
    ties: Ties | None = None
    sampled: bool = False
    split: str = ""
    data: str = ""
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A data set with a protocol.

    Attributes:
        name: its name, and the folder that `tastemaker data fetch` makes.
        title: its name in words.
        split: how `tastemaker evaluate --split` calls its split.
        users, items, interactions: what the data must count.
        fetch: the name under which it can be fetched; empty where it cannot.
        note: what one must know of it.
        figures: what others report.
    """

    name: str
    title: str
    split: str
    users: int
    items: int
    interactions: int
    fetch: str
    note: str
    figures: tuple[Figure, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """What the data must count, by name."""
        return {"users": self.users, "items": self.items, "interactions": self.interactions}


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """Return all benchmarks by name.

    Raises:
        ConfigError: a packaged file is wrong; the message names file, entry and key.
    """
    texts = sorted((one for one in files("tastemaker.published").iterdir() if one.name.endswith(".toml")), key=_name)
    return MappingProxyType({_name(one): parse(_name(one), one.read_text(encoding="utf-8")) for one in texts})


def figures(name: str) -> tuple[Figure, ...]:
    """Return what others report on the benchmark `name`.

    Raises:
        ConfigError: no such benchmark.
    """
    if name not in benchmarks():
        raise ConfigError(f"benchmark '{name}' is unknown{did_you_mean(name, benchmarks())}")
    return benchmarks()[name].figures


def check_data(benchmark: Benchmark, data: Dataset) -> list[str]:
    """Say where data count otherwise than the benchmark; an empty list means that a row may bear its name."""
    return differences(benchmark, {"users": data.n_users, "items": data.n_items, "interactions": len(data)})


def differences(benchmark: Benchmark, counts: Mapping[str, int]) -> list[str]:
    """Say which of users, items and interactions are not those of the benchmark."""
    return [
        f"{counts[what]:,} {what}, {benchmark.title} has {stated:,}"
        for what, stated in benchmark.counts.items()
        if counts[what] != stated
    ]


def parse(name: str, text: str) -> Benchmark:
    """Read one benchmark from TOML.

    Raises:
        ConfigError: not TOML, or a key is missing, unknown or has a value that cannot be.
    """
    place = f"{name}.toml"
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: {error}") from error
    _check_keys(place, tables, required={"benchmark"}, known={"benchmark", "figure"})
    head = tables["benchmark"]
    parts = {one.name for one in fields(Benchmark)} - {"name", "figures"}
    _check_keys(f"{place}.benchmark", head, required=parts, known=parts)
    for key in ("users", "items", "interactions"):
        _check(type(head[key]) is int and head[key] > 0, f"{place}.benchmark.{key}", head[key], "a positive number")
    for key in ("title", "fetch", "note"):
        _check(isinstance(head[key], str), f"{place}.benchmark.{key}", head[key], "text")
    _check(head["split"] in SPLITS, f"{place}.benchmark.split", head["split"], " or ".join(SPLITS))
    found = tuple(_figure(f"{place}.figure[{number}]", one) for number, one in enumerate(tables.get("figure", [])))
    models = [one.model for one in found]
    for model in models:
        _check(models.count(model) == 1, f"{place}.figure", model, "a name that only one figure has")
    return Benchmark(name=name, **head, figures=found)


def _figure(place: str, table: dict[str, Any]) -> Figure:
    required = {one.name for one in fields(Figure) if one.default is MISSING and one.default_factory is MISSING}
    _check_keys(place, table, required=required, known={one.name for one in fields(Figure)})
    for key in ("model", "source", "split", "data", "note"):
        _check(isinstance(table.get(key, ""), str), f"{place}.{key}", table.get(key), "text")
    _check(bool(table["model"]) and bool(table["source"]), place, table["model"], "a model and a source")
    _check(table["kind"] in get_args(Kind), f"{place}.kind", table["kind"], ", ".join(get_args(Kind)))
    _check(table["checked"] in get_args(Checked), f"{place}.checked", table["checked"], ", ".join(get_args(Checked)))
    masked = table["masked"]
    _check(
        isinstance(masked, bool) or masked == NOT_STATED, f"{place}.masked", masked, f"true, false or '{NOT_STATED}'"
    )
    for key in ("comparable", "refit", "sampled"):
        _check(isinstance(table.get(key, True), bool), f"{place}.{key}", table.get(key), "true or false")
    ties = table.get("ties", "file")
    _check(ties in get_args(Ties), f"{place}.ties", ties, " or ".join(get_args(Ties)))
    seeds = table.get("seeds")
    _check(seeds is None or (type(seeds) is int and seeds > 0), f"{place}.seeds", seeds, "a positive number")
    values = table.get("values", {})
    _check(isinstance(values, dict), f"{place}.values", values, "a table of measures")
    for measure, value in values.items():
        _check(measure in MEASURES, f"{place}.values", measure, "a measure such as ndcg@10")
        _check(type(value) is float and 0 < value < 1, f"{place}.values.{measure}", value, "a number between 0 and 1")
    comparable = table.get("comparable", True)
    _check(bool(values) or not comparable, f"{place}.values", values, "a value, or comparable = false")
    _check(comparable or bool(table.get("note")), f"{place}.note", None, "why the figure is not comparable")
    _check(
        comparable is False or not table.get("sampled", False), f"{place}.sampled", True, "comparable = false with it"
    )
    masked = None if masked == NOT_STATED else masked
    return Figure(**{**table, "masked": masked, "values": MappingProxyType(dict(values))})


def _check_keys(place: str, table: dict[str, Any], *, required: set[str], known: set[str]) -> None:
    for key in sorted(required - table.keys()):
        raise ConfigError(f"{place}.{key}: missing")
    for key in sorted(table.keys() - known):
        raise ConfigError(f"{place}.{key}: unknown key{did_you_mean(key, known)}")


def _check(holds: bool, place: str, value: object, needed: str) -> None:
    if not holds:
        raise ConfigError(f"{place}: {value!r} is not {needed}")


def _name(one: Traversable) -> str:
    return one.name.removesuffix(".toml")
