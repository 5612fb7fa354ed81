"""What a search tries: values or a range for each setting, read from words and checked before anything is fitted.

Words are `32,64,128` (values), `0.1..0.9` (a range), `1e-4..1e-2:log` (a range on a logarithmic scale). A range between
two whole numbers tries whole numbers, unless the setting takes fractions.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from tastemaker import config, registry
from tastemaker.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo

    from tastemaker.recommender import Recommender

RANGE = re.compile(r"(?P<low>[^:,\[]+?)\.\.(?P<high>[^:,]+)(?::(?P<scale>.*))?")
OF_MODEL = re.compile(r"stage\.(?P<stage>\d+)(?:\.member\.(?P<member>\d+))?\.(?P<setting>\w+)")
OF_STAGE = ("model", "keep", "member")
"""Keys of a stage's table that are no settings of its model."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Values that are tried: text, numbers, yes or no."""

    values: tuple[str | int | float | bool, ...]

    @property
    def words(self) -> str:
        """As it is written on the command line."""
        return ", ".join(_word(value) for value in self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all to be."""
        return self.values

    @property
    def count(self) -> float:
        """Number of values."""
        return len(self.values)

    def all(self) -> Iterable[Any]:
        """Return every value."""
        return self.values

    def holds(self, value: object) -> bool:
        """Say whether `value` is among those that are tried."""
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; whole numbers where both are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def words(self) -> str:
        """As it is written on the command line."""
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all to be."""
        return self.low, self.high

    @property
    def count(self) -> float:
        """Number of values, infinite for fractions."""
        return self.high - self.low + 1 if self.whole else math.inf

    def all(self) -> Iterable[Any]:
        """Return every value of a range of whole numbers."""
        return range(int(self.low), int(self.high) + 1)

    def holds(self, value: object) -> bool:
        """Say whether `value` is among those that are tried."""
        number = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]  # a number

    def at_end(self, value: float) -> bool:
        """Say whether a value lies within a fiftieth of the range of one of its ends."""
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return min(at - low, high - at) <= (high - low) / 50

    def fractions(self) -> Range:
        """Return the same range for a setting that takes fractions."""
        return replace(self, low=float(self.low), high=float(self.high))


Values = Choices | Range
Space = dict[str, Values]


def size(space: Space) -> float:
    """Return how many different settings there are, infinite where a range has fractions."""
    return math.prod(values.count for values in space.values())


def grid(space: Space) -> list[dict[str, Any]]:
    """Return all of them; only for a space without fractions."""
    return [
        dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*(one.all() for one in space.values()))
    ]


def with_values(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `settings` with the chosen values in place."""
    changed: dict[str, Any] = copy.deepcopy(dict(settings))
    for key, value in chosen.items():
        config.put(changed, key, value, place=f"{key}={_word(value)}")
    return changed


def value_at(settings: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401  # any TOML value
    """Return the value at a dotted address, None where there is none."""
    at: Any = settings
    for part in key.split("."):
        try:
            at = at[int(part)] if isinstance(at, list) else at[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return at


def parse(key: str, given: Any, *, place: str) -> Values:  # noqa: ANN401  # whatever TOML says
    """Read what is tried for one setting.

    Args:
        key: dotted address.
        given: words, or a list as TOML has it.
        place: named in messages.

    Raises:
        ConfigError: neither values nor a range.
    """
    if isinstance(given, str) and (found := RANGE.fullmatch(given.strip())):
        if found["scale"] not in (None, "log"):
            raise ConfigError(f"{place}: ':{found['scale']}': unknown scale{did_you_mean(found['scale'], ['log'])}")
        low, high = (_number(found[end], place) for end in ("low", "high"))
        if not low < high:
            raise ConfigError(f"{place}: a range must rise; {found['low']} is not below {found['high']}")
        if found["scale"] and low <= 0:
            raise ConfigError(f"{place}: a logarithmic range must begin above 0")
        return Range(low, high, log=bool(found["scale"]))
    if isinstance(given, str):
        listed = config.value_of(given) if given.lstrip().startswith("[") else None
        given = listed if isinstance(listed, list) else [config.value_of(word.strip()) for word in given.split(",")]
    if not isinstance(given, list) or not all(isinstance(value, str | int | float) for value in given):
        raise ConfigError(f"{place}: must be values such as 32,64,128 or a range such as 1e-4..1e-2:log")
    if not given or "" in given:
        raise ConfigError(f"{place}: an empty value; write e.g. {key}=32,64,128")
    if len(given) < 2:
        raise ConfigError(f"{place}: one value leaves nothing to try; set it with --set {key}={_word(given[0])}")
    twice = [value for number, value in enumerate(given) if Choices(tuple(given[:number])).holds(value)]
    if twice:
        raise ConfigError(f"{place}: {_word(twice[0])} stands there twice")
    return Choices(tuple(given))


def flat(table: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Return a `[search]` table with one dotted address a setting; quoted and nested keys mean the same."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        inner = flat(value, place=place) if isinstance(value, dict) else {"": value}
        for rest, given in inner.items():
            address = f"{key}.{rest}" if rest else key
            if address in found:
                raise ConfigError(f"{place}.{address}: stands there twice")
            found[address] = given
    return found


def owner(key: str) -> str | None:
    """Return the part of a pipeline whose own setting this is, as `Aids.part` names it ("0/", "0/2/"), or None."""
    found = OF_MODEL.fullmatch(key)
    if found is None or found["setting"] in OF_STAGE:
        return None
    return f"{found['stage']}/" if found["member"] is None else f"{found['stage']}/{found['member']}/"


def table_at(settings: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Return the table of the model whose own setting `key` is; None where it is no model's, or there is no such table.

    A model that is itself tried has no table of its own either: its settings are checked trial by trial.
    """
    found = OF_MODEL.fullmatch(key)
    if found is None or found["setting"] in OF_STAGE:
        return None
    try:
        table = settings["stage"][int(found["stage"])]
        return dict(table if found["member"] is None else table["member"][int(found["member"])])
    except (IndexError, KeyError):
        return None


def checked(key: str, values: Values, settings: Mapping[str, Any], *, place: str) -> Values:
    """Return what is tried for a setting, as fractions where it takes them.

    Rules between several settings are not looked at: a trial that breaks one is recorded as failed.

    Raises:
        ConfigError: no such setting, or a value that it can never take.
    """
    table = table_at(settings, key)
    if table is None:
        for value in values.ends:
            changed = copy.deepcopy(dict(settings))
            config.put(changed, key, value, place=place)
            registry.build(changed, place=place)
        return values
    kind = registry.model_class(table["model"])
    name = key.rpartition(".")[2]
    field = kind.Config.model_fields.get(name)
    if field is None:
        raise ConfigError(
            f"{place}: {table['model']} has no such setting{did_you_mean(name, kind.Config.model_fields)}"
        )
    takes = _types(field)
    if isinstance(values, Range):
        if not takes & {int, float}:
            raise ConfigError(f"{place}: {table['model']}.{name} is no number; list its values")
        if float in takes:
            values = values.fractions()
        elif not values.whole:
            raise ConfigError(f"{place}: {table['model']}.{name} takes whole numbers; write e.g. 1..5")
    for value in values.ends:
        _check_value(kind, name, value, place=place)
    return values


def _check_value(kind: type[Recommender], name: str, value: Any, *, place: str) -> None:  # noqa: ANN401
    try:
        kind.Config.model_validate({name: value})
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"][:1] == (name,):
                message = problem["msg"].removeprefix("Value error, ")
                raise ConfigError(f"{place}: {_word(value)}: {message[0].lower()}{message[1:]}") from error


def _types(field: FieldInfo) -> set[Any]:
    return {field.annotation, *get_args(field.annotation)}


def _number(text: str, place: str) -> float:
    try:
        number = int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)
    except ValueError:
        raise ConfigError(f"{place}: {text!r} is no number; a range is e.g. 0.1..0.9") from None
    if not math.isfinite(number):
        raise ConfigError(f"{place}: {text!r}: a range needs two ends")
    return number


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
