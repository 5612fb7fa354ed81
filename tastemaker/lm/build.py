"""Language models from plain settings, such as the TOML table [lm], and back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.configurable import Config, parse_config
from tastemaker.errors import ConfigError, MissingExtra
from tastemaker.lm.base import Budget
from tastemaker.lm.budget import BudgetedLM, budgeted
from tastemaker.lm.cache import CachedLM, cached, default_path
from tastemaker.lm.settings import LocalSettings, Wrapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tastemaker.lm.base import LanguageModel

# What a language model needs beyond the core, and the extra that brings it.
EXTRA_OF_MODULE = {"torch": "lm", "transformers": "lm", "gguf": "lm", "httpx2": "http"}


def build(settings: Mapping[str, Any]) -> LanguageModel:
    """Make a language model.

    Args:
        settings: keys of `Wrapping`; with "url" those of `HttpLM.Config`, else those of `LocalSettings`.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
        MissingExtra: the model needs a package that is not installed.
        LanguageModelError: the model is absent or cannot be loaded.
        ArtifactError: the cache is damaged.
    """
    around, own = _parts(settings)
    with _naming_the_extra(own):
        lm = _over_http(own) if "url" in own else _on_this_machine(own)
    if around.max_calls is not None or around.max_tokens_total is not None:
        lm = budgeted(lm, Budget(around.max_calls, around.max_tokens_total))
    if around.cache is not False:
        lm = cached(lm, default_path() if around.cache is True else Path(around.cache).expanduser())
    return lm


def check(settings: Mapping[str, Any]) -> None:
    """Refuse settings that `build` would refuse for a key or a value, without loading a model.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
        MissingExtra: settings of a server, and the package that speaks HTTP is not installed.
    """
    _, own = _parts(settings)
    if "url" not in own:
        parse_config(LocalSettings, own, place="lm")
        return
    with _naming_the_extra(own):
        from tastemaker.lm.http import HttpLM

        parse_config(HttpLM.Config, own, place="lm")


def has_device(settings: Mapping[str, Any]) -> bool:
    """Say whether the language model of these settings works on a device that can be chosen: not that of a server."""
    return "model" in settings and "url" not in settings


def settings_of(lm: LanguageModel) -> dict[str, Any]:
    """Return the settings from which `build` makes the same language model: JSON values, no secrets.

    Raises:
        ConfigError: the model was not made from settings.
    """
    if isinstance(lm, CachedLM):
        return {**settings_of(lm.lm), "cache": True if lm.path == default_path() else str(lm.path)}
    if isinstance(lm, BudgetedLM):
        budget = {"max_calls": lm.budget.calls, "max_tokens_total": lm.budget.tokens}
        return {**settings_of(lm.lm), **{key: value for key, value in budget.items() if value is not None}}
    config = getattr(lm, "config", None)
    if not isinstance(config, Config):
        raise ConfigError(f"the language model {lm.name!r} ({type(lm).__name__}) cannot be written down as settings")
    return {**config.model_dump(mode="json", exclude_none=True), "cache": False}


def innermost(lm: LanguageModel) -> LanguageModel:
    """Return the model itself, without what stands around it."""
    return innermost(lm.lm) if isinstance(lm, CachedLM | BudgetedLM) else lm


def rewrapped(lm: LanguageModel, inner: LanguageModel) -> LanguageModel:
    """Return `inner` with what stands around the model in `lm`: cache and budget."""
    if isinstance(lm, CachedLM):
        return cached(rewrapped(lm.lm, inner), lm.path)
    if isinstance(lm, BudgetedLM):
        return budgeted(rewrapped(lm.lm, inner), lm.budget)
    return inner


def _parts(settings: Mapping[str, Any]) -> tuple[Wrapping, dict[str, Any]]:
    """Return what stands around the model, and the model's own settings."""
    needed = 'needs model = "smollm2-135m-instruct" (or a folder), or url and model of a server'
    if not isinstance(settings, Mapping):
        raise ConfigError(f"lm: {settings!r}: must be a table: [lm] {needed}")
    own = {key: value for key, value in settings.items() if key not in Wrapping.model_fields}
    around = parse_config(Wrapping, {key: settings[key] for key in settings if key not in own}, place="lm")
    if not own:
        raise ConfigError(f"lm: {needed}")
    return around, own


@contextmanager
def _naming_the_extra(settings: Mapping[str, Any]) -> Iterator[None]:
    """Turn a missing package into the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF_MODULE:
            raise
        what = f"language model {settings.get('model')!r}"
        raise MissingExtra(what, missing, EXTRA_OF_MODULE[missing]) from error


def _on_this_machine(settings: dict[str, Any]) -> LanguageModel:
    own = parse_config(LocalSettings, settings, place="lm")
    from tastemaker.lm.local import LocalLM  # needs the extra "lm"

    return LocalLM(**own.model_dump())


def _over_http(settings: dict[str, Any]) -> LanguageModel:
    from tastemaker.lm.http import HttpChoiceLM, HttpLM  # needs the extra "http"

    kind = HttpChoiceLM if settings.get("logprobs") is True else HttpLM
    return kind(**settings)
