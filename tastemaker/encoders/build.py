"""Encoders by name, from plain settings such as the TOML table [encoder], and back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tastemaker.encoders.cache import CachedEncoder, cached
from tastemaker.errors import ConfigError, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from tastemaker.encoders.base import Encoder

DEFAULT = "tfidf"
# Modules are tastemaker.encoders.NAME; each is imported when it is asked for, since scikit-learn alone takes a second.
CLASSES = {"http": "HttpEncoder", "tfidf": "TfidfEncoder", "transformer": "TransformerEncoder"}
# The modules that an encoder needs beyond the core, and the extra that brings them.
NEEDS = {"http": (("httpx2",), "http"), "transformer": (("torch", "sentence_transformers"), "text")}


def build(settings: Mapping[str, Any]) -> Encoder:
    """Make an encoder.

    Args:
        settings: "model" names it (default "tfidf"); the other keys are its configuration. "cache" (default true) keeps
            the vectors of "transformer" and "http" on disk; "tfidf" has none, it is quicker than a disk.

    Raises:
        ConfigError: an unknown name or key, or a value that does not fit.
        MissingExtra: the encoder needs a package that is not installed.
    """
    encoder, cache = _parts(settings)
    _require(encoder.name)
    return cached(encoder) if cache else encoder


def check(settings: Mapping[str, Any]) -> None:
    """Refuse settings that `build` would refuse for a key or a value, without a look at the weights.

    Raises:
        ConfigError: an unknown name or key, or a value that does not fit.
        MissingExtra: settings of a server, and the package that speaks HTTP is not installed.
    """
    _parts(settings)


def _parts(settings: Mapping[str, Any]) -> tuple[Encoder, bool]:
    """Return the encoder, which has loaded nothing yet, and whether its vectors are kept on disk."""
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f'encoder: {settings!r}: must be a table: [encoder] model = "tfidf"{did_you_mean("", CLASSES)}'
        )
    own = dict(settings)
    name, cache = own.pop("model", DEFAULT), own.pop("cache", None)
    if not isinstance(name, str) or name not in CLASSES:
        raise ConfigError(f"encoder.model: unknown encoder {name!r}{did_you_mean(str(name), CLASSES)}")
    if cache is not None and name not in NEEDS:
        raise ConfigError(f"encoder.cache: {name!r} has no cache; remove the key")
    if cache not in (None, True, False):
        raise ConfigError(f"encoder.cache: {cache!r}: must be true or false")
    if name == "http":  # its module cannot even be imported without
        _require(name)
    encoder: Encoder = getattr(import_module(f"tastemaker.encoders.{name}"), CLASSES[name])(**own)
    return encoder, name in NEEDS and cache is not False


def has_device(settings: Mapping[str, Any]) -> bool:
    """Say whether the encoder of these settings works on a device that can be chosen."""
    return bool(settings.get("model", DEFAULT) == "transformer")


def settings_of(encoder: Encoder) -> dict[str, Any]:
    """Return the settings from which `build` makes the same encoder: all keys, JSON values, no secrets."""
    settings = {"model": encoder.name, **encoder.config.model_dump(mode="json")}
    if encoder.name in NEEDS:
        settings["cache"] = isinstance(encoder, CachedEncoder)
    return settings


def _require(name: str) -> None:
    """Refuse to go on without the packages that the encoder needs."""
    modules, extra = NEEDS.get(name, ((), ""))
    for module in modules:
        if not _installed(module):
            raise MissingExtra(f"encoder {name!r}", module, extra)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # something in its place that is no module
        return False
