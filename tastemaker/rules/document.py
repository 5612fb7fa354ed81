"""A rule document: read from TOML or JSON, checked as a whole, every mistake with its place, value and cure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tastemaker.characters import replace_surrogates
from tastemaker.configurable import Config, parse_config, shown
from tastemaker.documents import as_json_values, read_document
from tastemaker.errors import ConfigError, did_you_mean
from tastemaker.rules.schema import ACTIONS, When, writable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path
    from typing import Self

    from tastemaker.rules.schema import Action

MOST_RULES = 1_000
LONGEST_NAME = 200
DOCUMENT_KEYS = ("rule", "timezone")
RULE_KEYS = ("name", "when", "unless", "enabled", *ACTIONS)
RESERVED = ("hidden product", "request filter", "request exclusion", "shopper has it")
"""Names by which notes say that no rule of the document was the cause."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: unique in the document; it stands in audit notes.
        kind: key of the action, e.g. "hide".
        action: what it does.
        when: when it holds; always, without it.
        unless: when it does not hold.
        enabled: whether it is in force at all.
    """

    name: str
    kind: str
    action: Action
    when: When | None = None
    unless: When | None = None
    enabled: bool = True


@dataclass(frozen=True)
class RuleSet:
    """A rule document that was checked; earlier rules go before later ones where they conflict.

    Attributes:
        rules: in the order of the document.
        timezone: IANA name, for days and times without an offset.
        document: as it was given.
    """

    rules: tuple[Rule, ...] = ()
    timezone: str = "UTC"
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, place: str = "rules") -> Self:
        """Check a document.

        Args:
            document: `{"rule": [{...}, ...], "timezone": "..."}`, values as JSON or TOML have them.
            place: named in messages, e.g. the file.

        Raises:
            ConfigError: one line for each mistake: place, value and cure.
        """
        if not isinstance(document, dict):
            raise ConfigError(f"{place}: must be a table with the key 'rule', a list of rules")
        found = [
            f"{place}.{key}: unknown key{did_you_mean(str(key), DOCUMENT_KEYS)}"
            for key in document
            if key not in DOCUMENT_KEYS
        ]
        timezone = document.get("timezone", "UTC")
        try:
            ZoneInfo(timezone)
        except Exception:  # whatever a hostile name makes it raise
            found.append(f"{place}.timezone: {shown(timezone)}: must be an IANA name such as 'Europe/Berlin'")
        given = document.get("rule", [])
        if not isinstance(given, list | tuple):
            raise ConfigError("\n".join([*found, f"{place}.rule: must be a list of rules, [[rule]] in TOML"]))
        if len(given) > MOST_RULES:
            raise ConfigError(f"{place}.rule: {len(given):,} rules; at most {MOST_RULES:,}: join lists of products")
        rules: list[Rule] = []
        for number, one in enumerate(given):
            try:
                rules.append(_rule(one, place=f"{place}.rule[{number}]"))
            except ConfigError as error:
                found.append(str(error))
        first: dict[str, int] = {}
        for number, one in enumerate(given):
            name = one.get("name") if isinstance(one, dict) else None
            if isinstance(name, str) and first.setdefault(name, number) != number:
                found.append(f"{place}.rule[{number}].name: {name!r}: rule[{first[name]}] is called so; rename one")
        if found:
            raise ConfigError(replace_surrogates("\n".join(found)))
        return cls(tuple(rules), timezone, document)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a document from a TOML file, or a JSON file if its name ends in .json.

        Raises:
            ConfigError: no such file, not TOML or JSON, or a mistake in it.
        """
        return cls.parse(read_document(path), place=str(path))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the document says: equal digests mean equal rules."""
        written = json.dumps(self.to_dict(), sort_keys=True, default=str, ensure_ascii=True)
        return hashlib.sha256(written.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the document in JSON values, for a store; `parse` reads it again."""
        values: dict[str, Any] = as_json_values(dict(self.document))
        return values

    def starts(self, moment: date) -> int:
        """Return when a day or a time begins, in milliseconds UTC."""
        return self._milliseconds(moment)

    def ends(self, moment: date) -> int:
        """Return when a day ends, or when a time is, in milliseconds UTC."""
        return self._milliseconds(moment if isinstance(moment, datetime) else moment + timedelta(days=1))

    def _milliseconds(self, moment: date) -> int:
        whole = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
        if whole.tzinfo is None:
            whole = whole.replace(tzinfo=ZoneInfo(self.timezone))
        return round(whole.timestamp() * 1000)


def _is_timezone(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(ZoneInfo(name))
    except (ValueError, LookupError, OSError):
        return False


def _rule(given: object, *, place: str) -> Rule:
    """Return one rule.

    Raises:
        ConfigError: one line for each mistake.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{place}: {shown(given)}: must be a table with a name and one action")
    found = []
    name = given.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not writable(name):
        found.append(f"{place}.name: {shown(name)}: every rule needs a name of at most {LONGEST_NAME} characters")
    elif name in RESERVED:
        found.append(f"{place}.name: {name!r}: audit notes use this name themselves; choose another")
    else:
        place = f"{place} {name!r}"
    found += [f"{place}.{key}: unknown key{did_you_mean(str(key), RULE_KEYS)}" for key in given if key not in RULE_KEYS]
    kinds = [key for key in given if key in ACTIONS]
    if len(kinds) != 1:
        said = "has no action" if not kinds else f"has {len(kinds)} actions ({', '.join(kinds)}); split the rule"
        found.append(f"{place}: {said}; one of: {', '.join(ACTIONS)}")
    enabled = given.get("enabled", True)
    if not isinstance(enabled, bool):
        found.append(f"{place}.enabled: {shown(enabled)}: must be true or false")
    parts: dict[str, Any] = {}
    tables: list[tuple[str, type[Config]]] = [("when", When), ("unless", When), *((one, ACTIONS[one]) for one in kinds)]
    for key, kind in tables:
        if key not in given:
            continue
        if not isinstance(given[key], dict):
            found.append(f"{place}.{key}: {shown(given[key])}: must be a table, e.g. {key} = {{ ... }}")
            continue
        try:
            parts[key] = parse_config(kind, given[key], place=f"{place}.{key}")
        except ConfigError as error:
            found.append(str(error))
    if found:
        raise ConfigError("\n".join(found))
    return Rule(str(name), kinds[0], parts[kinds[0]], parts.get("when"), parts.get("unless"), bool(enabled))
