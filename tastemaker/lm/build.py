"""Language models from plain settings, such as the TOML table [lm], and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tastemaker.configurable import Config, parse_config
from tastemaker.errors import ConfigError, MissingExtra
from tastemaker.lm.base import Budget
from tastemaker.lm.budget import BudgetedLM, budgeted
from tastemaker.lm.cache import CachedLM, cached, default_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.lm.base import LanguageModel

# What a language model needs beyond the core, and the extra that brings it.
EXTRA_OF_MODULE = {"torch": "lm", "transformers": "lm", "gguf": "lm", "httpx2": "http"}


class Wrapping(Config):
    """What stands around a language model.

    Attributes:
        cache: keep answers on disk: true (in the cache folder), false, or the path of a file. Answers are stored,
            prompts are not.
        max_calls: prompts that the model may be asked; None for no ceiling. Answers from the cache are free.
        max_tokens_total: tokens that it may read and write together; None for no ceiling.
    """

    cache: bool | str = True
    max_calls: int | None = Field(default=None, ge=0)
    max_tokens_total: int | None = Field(default=None, ge=0)


def build(settings: Mapping[str, Any]) -> LanguageModel:
    """Make a language model.

    Args:
        settings: keys of `Wrapping`; with "url" those of `HttpLM.Config`, else those of `LocalLM.Config`.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
        MissingExtra: the model needs a package that is not installed.
        LanguageModelError: the model is absent or cannot be loaded, or the cache is damaged.
    """
    own = {key: value for key, value in settings.items() if key not in Wrapping.model_fields}
    around = parse_config(Wrapping, {key: settings[key] for key in settings if key not in own}, place="lm")
    if not own:
        raise ConfigError('lm: needs model = "smollm2-135m-instruct" (or a folder), or url and model of a server')
    try:
        lm = _over_http(own) if "url" in own else _on_this_machine(own)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF_MODULE:
            raise
        what = f"language model {own.get('model')!r}"
        raise MissingExtra(what, missing, EXTRA_OF_MODULE[missing]) from error
    if around.max_calls is not None or around.max_tokens_total is not None:
        lm = budgeted(lm, Budget(around.max_calls, around.max_tokens_total))
    if around.cache is not False:
        lm = cached(lm, default_path() if around.cache is True else Path(around.cache).expanduser())
    return lm


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


def _on_this_machine(settings: dict[str, Any]) -> LanguageModel:
    from tastemaker.lm.local import LocalLM  # needs the extra "lm"

    return LocalLM(**parse_config(LocalLM.Config, settings, place="lm").model_dump())


def _over_http(settings: dict[str, Any]) -> LanguageModel:
    from tastemaker.lm.http import HttpChoiceLM, HttpLM  # needs the extra "http"

    kind = HttpChoiceLM if settings.get("logprobs") is True else HttpLM
    return kind(**settings)
