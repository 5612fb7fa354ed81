"""Encoders by name, from plain settings such as the TOML table [encoder], and back."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tastemaker.encoders.cache import CachedEncoder, cached
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.errors import ConfigError, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.encoders.base import Encoder

DEFAULT = "tfidf"
NAMES = ("http", "tfidf", "transformer")
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
    own = dict(settings)
    name, cache = own.pop("model", DEFAULT), own.pop("cache", None)
    if name not in NAMES:
        raise ConfigError(f"encoder.model: unknown encoder {name!r}{did_you_mean(str(name), NAMES)}")
    if name == "tfidf":
        if cache is not None:
            raise ConfigError("encoder.cache: 'tfidf' has no cache; remove the key")
        return TfidfEncoder(**own)
    if cache not in (None, True, False):
        raise ConfigError(f"encoder.cache: {cache!r}: must be true or false")
    modules, extra = NEEDS[name]
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(f"encoder {name!r}", module, extra)
    encoder = TransformerEncoder(**own) if name == "transformer" else _http(own)
    return encoder if cache is False else cached(encoder)


def settings_of(encoder: Encoder) -> dict[str, Any]:
    """Return the settings from which `build` makes the same encoder: all keys, JSON values, no secrets."""
    settings = {"model": encoder.name, **encoder.config.model_dump(mode="json")}
    if encoder.name in NEEDS:
        settings["cache"] = isinstance(encoder, CachedEncoder)
    return settings


def _http(settings: dict[str, Any]) -> Encoder:
    from tastemaker.encoders.http import HttpEncoder  # needs the extra "http"

    return HttpEncoder(**settings)
