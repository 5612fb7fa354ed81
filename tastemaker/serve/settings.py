"""Settings of the service: defaults, then the table `[serve]` of a TOML file, then the environment, then the command.

`TASTEMAKER_SERVE_BUDGET_MS=200` sets `budget_ms`. Secrets are no settings.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tastemaker.configurable import Config, parse_config
from tastemaker.errors import ConfigError
from tastemaker.text.reason_words import Language

PREFIX = "TASTEMAKER_SERVE_"
MIB = 2**20
_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")


class Settings(Config):
    """How the service answers, and what it refuses.

    Attributes:
        host: address to listen on; other than loopback needs keys.
        port: to listen on; 0 takes a free one.
        budget_ms: time for an answer where the request names none.
        most_budget_ms: time that a request may ask for at most.
        reserve_ms: part of the budget that is kept back for putting the answer together.
        n: length of a list where the request names none.
        reasons_language: of the reasons, "en" or "de"; names stay as the shop has them. A language model phrases in
            English, so in another language the template's sentence stands.
        strategy: what answers where the request names nothing: see `docs/serving.md`.
        language_model_history: longest history for which "auto" asks a language model; it helps where little is known.
        language_model_calls: calls under way at a time.
        breaker_failures: failed calls of the last ten after which the language model is left alone for a while.
        breaker_pause: seconds that it is left alone first.
        batch_wait_ms: time that a question waits for company at most.
        batch_most: questions answered in one product.
        index_from: items from which a catalogue is searched by an index instead of as a whole.
        index_probes: cells of the index that are looked at.
        index_folder: where indexes are kept; None builds them anew at each start.
        in_flight: requests under way at most; more are refused with 503.
        rate: requests a second for each key; None for no limit.
        rate_burst: requests that a key may send at once.
        body_bytes: largest body of a request.
        batch_body_bytes: largest body of events, items or users in numbers.
        body_seconds: time within which a body has to be there.
        json_depth: deepest nesting of a body.
        shoppers: shoppers that are kept in memory, of all shops together; fewer where they did much.
        tenants: shops that are open at a time; the one not asked for longest is closed, and opened when asked for.
        rule_lists: newest lists of each shop of which it is kept what business rules did.
        settle_seconds: time that a start waits for indexes; then it answers without, but is not ready yet.
        follow_seconds: how often the store is looked at for what other processes wrote.
        precompute: whether rankings are made beside the requests, in a process of its own, for shoppers who come: see
            `docs/precomputation.md`.
        precompute_share: share of one processor core that this may take.
        precompute_waiting: shoppers who may wait for theirs; of more, those who came first are left out.
        precompute_recent: shoppers who came last before a start or an exchange of models, for whom they are made too.
        precompute_depth: products of a ranking that is made.
        precompute_reasons: for how many of these the language model phrases the reason.
        new_items: most places of a list of ten for products that the model does not know.
        leave_seconds: time between a stop and the closing of the door, for a load balancer to see that it is not ready.
        drain_seconds: time that requests under way have to end in at a stop.
        threads: of numerical libraries; more than 1 helps only where nothing else runs.
        page: whether the page is served.
        image_sources: addresses that the page may load pictures of products from, such as "https://img.shop.example";
            in the environment with spaces between. None shows no pictures.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    budget_ms: int = Field(default=300, ge=10, le=60_000)
    most_budget_ms: int = Field(default=10_000, ge=10, le=60_000)
    reserve_ms: int = Field(default=20, ge=0, le=1000)
    n: int = Field(default=10, ge=1, le=100)
    reasons_language: Language = "en"
    strategy: Literal["auto", "full", "fast", "retriever", "text", "popular"] = "auto"
    language_model_history: int = Field(default=100, ge=0)
    language_model_calls: int = Field(default=4, ge=1, le=64)
    breaker_failures: int = Field(default=5, ge=1, le=10)
    breaker_pause: float = Field(default=5.0, gt=0)
    batch_wait_ms: float = Field(default=1.0, ge=0, le=20)
    batch_most: int = Field(default=64, ge=1, le=1024)
    index_from: int = Field(default=50_000, ge=1000)
    index_probes: int = Field(default=48, ge=1)
    index_folder: Path | None = None
    in_flight: int = Field(default=256, ge=1)
    rate: float | None = Field(default=None, gt=0)
    rate_burst: int = Field(default=100, ge=1)
    body_bytes: int = Field(default=MIB, ge=1024)
    batch_body_bytes: int = Field(default=5 * MIB, ge=1024)
    body_seconds: float = Field(default=10.0, gt=0)
    json_depth: int = Field(default=64, ge=4, le=128)
    shoppers: int = Field(default=100_000, ge=1)
    tenants: int = Field(default=64, ge=1)
    rule_lists: int = Field(default=20_000, ge=0)
    settle_seconds: float = Field(default=10.0, ge=0)
    follow_seconds: float = Field(default=0.5, gt=0, le=60)
    precompute: bool = False
    precompute_share: float = Field(default=0.5, gt=0, le=1)
    precompute_waiting: int = Field(default=10_000, ge=1)
    precompute_recent: int = Field(default=1000, ge=0)
    precompute_depth: int = Field(default=50, ge=1, le=500)
    precompute_reasons: int = Field(default=0, ge=0, le=100)
    new_items: int = Field(default=2, ge=0, le=10)
    leave_seconds: float = Field(default=0.2, ge=0, le=300)
    drain_seconds: float = Field(default=20.0, ge=0)
    threads: int = Field(default=1, ge=1)
    page: bool = True
    image_sources: tuple[str, ...] = ()

    @field_validator("precompute_reasons")
    @classmethod
    def _phrased(cls, value: int, info: ValidationInfo) -> int:
        language = info.data.get("reasons_language", "en")
        if value and language != "en":
            raise ValueError(f"a language model phrases in English alone; set 0, as reasons_language is {language!r}")
        return value

    @field_validator("image_sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("image_sources")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            if not _ORIGIN.fullmatch(source):
                raise ValueError(f"{source!r} is no address such as https://img.shop.example, without a path")
        return value


def read_settings(file: Path | None = None, **given: Any) -> Settings:  # noqa: ANN401  # checked by Settings
    """Return the settings: defaults, file, environment, then `given` where that is not None.

    Raises:
        ConfigError: no such file, not TOML, or a setting is unknown or out of range.
    """
    values: dict[str, Any] = {}
    place = "serve"
    if file is not None:
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("serve", {})
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: not valid TOML: {error}") from error
        if not isinstance(table, dict):
            raise ConfigError(f"{file}.serve: must be a table, [serve]")
        values |= table
        place = f"{file}.serve"
    for name in Settings.model_fields:
        word = os.environ.get(PREFIX + name.upper())
        if word is not None:
            values[name] = word
    values |= {name: value for name, value in given.items() if value is not None}
    return parse_config(Settings, values, place=place)
