"""Models by name: a folder listing, entry points of other packages, and recommenders built from plain settings.

A shipped model is a module models/GROUP/NAME.py, its group any package of `models` but `parts`, which holds what models
are made of.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from tastemaker import models
from tastemaker.encoders import build as encoders
from tastemaker.errors import ConfigError, MissingExtra, did_you_mean
from tastemaker.lm import build as language_models
from tastemaker.pipeline import DEFAULT_KEEP, Pipeline, Stage
from tastemaker.recommender import Recommender

ENTRY_POINT_GROUP = "tastemaker.models"

PARTS = "parts"
"""The package beside the groups in which no module is a model."""

KEYS = frozenset({"stage", "encoder", "lm", "fallback"})
"""What a configuration may hold."""

EXTRA_OF_MODULE = {
    "faiss": "indexing",
    "implicit": "implicit",
    "peft": "lm",
    "sentence_transformers": "text",
    "torch": "neural",
    "transformers": "lm",
}
"""Which optional dependency group brings a module that a model file imports."""


@cache
def _locations() -> dict[str, str]:
    """Module of each shipped model: models/GROUP/NAME.py, PARTS left out; listing them imports none."""
    found = {}
    for group in pkgutil.iter_modules(models.__path__, "tastemaker.models."):
        if group.ispkg and group.name.rpartition(".")[2] != PARTS:
            package = importlib.import_module(group.name)
            for module in pkgutil.iter_modules(package.__path__):
                found[module.name] = f"{group.name}.{module.name}"
    return found


def names() -> list[str]:
    """Return the names of all known models, those of other packages included."""
    return sorted({*_locations(), *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def group_of(name: str) -> str:
    """Return the group of a model: "collaborative", "content", "llm", or "plug-in" for another package's."""
    location = _locations().get(name)
    return location.split(".")[-2] if location else "plug-in"


def model_class(name: str) -> type[Recommender]:
    """Return the class of a model.

    Raises:
        ConfigError: no model has this name.
        MissingExtra: the model needs a package that is not installed.
    """
    location = _locations().get(name)
    if location is None:
        for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
            return _checked(point.load())
        raise ConfigError(f"unknown model '{name}'{did_you_mean(name, names())}")
    try:
        module = importlib.import_module(location)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF_MODULE:
            raise
        raise MissingExtra(f"model '{name}'", missing, EXTRA_OF_MODULE[missing]) from error
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Recommender) and vars(value).get("name") == name:
            return _checked(value)
    raise TypeError(f"{location} defines no Recommender with name = {name!r}")


def _checked(kind: type[Recommender]) -> type[Recommender]:
    """Refuse a model whose settings share a name with those of its stage."""
    taken = {"model", "keep"} & set(kind.Config.model_fields)
    if taken:
        raise TypeError(f"model '{kind.name}' has a setting {taken.pop()!r}, which names something of its stage")
    return kind


def build(settings: Mapping[str, Any], *, place: str = "config") -> Pipeline:
    """Make a pipeline from plain settings, as they stand in a configuration file or a saved manifest.

    Args:
        settings: "stage": a list of tables with "model", optionally "keep", and the model's own keys;
            "encoder" and "lm": tables for the stages that take one; "fallback": a model name, or "none".
        place: named in messages.

    Raises:
        ConfigError: an unknown model or key, or a value out of range.
        MissingExtra: a part needs a package that is not installed.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{place}: {settings!r} is no table of settings")
    for word in sorted(set(settings) - KEYS):
        raise ConfigError(f"{place}.{word}: unknown key{did_you_mean(word, KEYS)}")
    for word in ("encoder", "lm"):
        if not isinstance(settings.get(word, {}), Mapping):
            raise ConfigError(f'{place}.{word}: {settings[word]!r}: must be a table, [{word}] with model = "..."')
    for word, check in (("encoder", encoders.check), ("lm", language_models.check)):
        if word in settings:
            check(settings[word])  # also where no stage uses it
    tables = settings.get("stage")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{place}: needs at least one [[stage]] with a model; known models: {', '.join(names())}")
    stages = [
        Stage(
            _model(table, settings, place=f"{place}.stage[{number}]"),
            keep=_keep(table.get("keep", DEFAULT_KEEP), f"{place}.stage[{number}].keep"),
        )
        for number, table in enumerate(tables)
    ]
    fallback = settings.get("fallback", "popular")
    if not isinstance(fallback, str):
        raise ConfigError(f'{place}.fallback: {fallback!r}: must be a model name or "none"')
    last_resort = None if fallback == "none" else _model({"model": fallback}, settings, place=f"{place}.fallback")
    return Pipeline(stages, fallback=last_resort)


def on_device(settings: Mapping[str, Any], device: str | None, *, move: bool = False) -> dict[str, Any]:
    """Return settings whose encoder and language model work on `device`, as far as they run on this machine.

    Args:
        settings: as for `build`; they stay unchanged.
        device: as torch names it; None leaves all as it is.
        move: also where the settings name a device, which is kept otherwise.
    """
    placed = dict(settings)
    for word, has_one in (("encoder", encoders.has_device), ("lm", language_models.has_device)):
        table = settings.get(word)
        if device is not None and isinstance(table, Mapping) and has_one(table) and (move or "device" not in table):
            placed[word] = {**table, "device": device}
    return placed


def without_answers_kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose language model keeps no answer on disk; the given ones stay unchanged."""
    table = settings.get("lm")
    return {**settings, "lm": {**table, "cache": False}} if isinstance(table, Mapping) else dict(settings)


def settings_of(pipeline: Pipeline) -> dict[str, Any]:
    """Return settings from which `build` makes the same pipeline, unfitted."""
    tables = []
    shared: dict[str, Any] = {}
    for stage in pipeline.stages:
        table = _table_of(stage.recommender, shared)
        tables.append({"model": table.pop("model"), "keep": stage.keep, **table})
    return {"stage": tables, **shared, "fallback": pipeline.fallback.name if pipeline.fallback else "none"}


def _table_of(model: Recommender, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of one model and its members; encoder and language model go to `shared`."""
    if model.encoder is not None:
        shared["encoder"] = encoders.settings_of(model.encoder)
    if model.lm is not None:
        shared["lm"] = language_models.settings_of(model.lm)
    table = {"model": model.name, **model.config.model_dump(mode="json")}
    members = getattr(model, "members", ())
    return {**table, "member": [_table_of(member, shared) for member in members]} if members else table


def _model(table: Mapping[str, Any], settings: Mapping[str, Any], *, place: str) -> Recommender:
    name = table.get("model")
    if not isinstance(name, str):
        raise ConfigError(f'{place}: needs model = "NAME"; known models: {", ".join(names())}')
    try:
        kind = model_class(name)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    own = {key: value for key, value in table.items() if key not in ("model", "keep")}
    if "members" in kind.takes and ("member" in own or not kind.members_optional):
        own["members"] = _members(own.pop("member", None), settings, place=place)
    try:
        encoder = encoders.build(settings.get("encoder", {})) if "encoder" in kind.takes else None
        lm = language_models.build(settings["lm"]) if "lm" in kind.takes and "lm" in settings else None
        return kind(encoder=encoder, lm=lm, **own)
    except ConfigError as error:
        lines = str(error).removeprefix(f"{name}.").replace(f"\n{name}.", f"\n{place}.")
        raise ConfigError(f"{place}{'.' if str(error).startswith(f'{name}.') else ': '}{lines}") from error


def _members(tables: Any, settings: Mapping[str, Any], *, place: str) -> list[Recommender]:  # noqa: ANN401
    """Make the recommenders that a model is made of, each a table like a stage without `keep`."""
    if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{place}: needs [[stage.member]] tables, each with a model")
    return [_model(table, settings, place=f"{place}.member[{number}]") for number, table in enumerate(tables)]


def _keep(value: Any, place: str) -> int:  # noqa: ANN401  # straight from a configuration file
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{place}: {value!r}: must be a whole number of at least 1")
    return value
