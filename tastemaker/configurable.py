"""What recommenders and encoders share: a name, one frozen configuration, and arrays that can be saved."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tastemaker.characters import replace_surrogates
from tastemaker.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


class Config(BaseModel):
    """Base of all configurations: frozen, typed, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_ATTRIBUTE = re.compile(r"(\w+(?:, \w+)*): (.+)")


def explained(kind: type[Config]) -> dict[str, str]:
    """Return what each setting means, by the "Attributes" of the docstrings of a configuration and its bases.

    A class says what it adds, and what means something else with it; the rest stands where it is defined.
    """
    said: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        _, _, lines = inspect.cleandoc(vars(part).get("__doc__") or "").partition("\nAttributes:\n")
        section = lines.partition("\n\n")[0]
        for line in re.sub(r"\n {5,}", " ", section).splitlines():
            if match := _ATTRIBUTE.fullmatch(line.strip()):
                said |= dict.fromkeys(match[1].split(", "), match[2])
    return {name: said[name] for name in kind.model_fields if name in said}


C = TypeVar("C", bound=Config)
LONGEST_SHOWN = 200
"""Characters of a bad value that a message shows."""


def parse_config(kind: type[C], values: dict[str, Any], *, place: str) -> C:
    """Validate `values` as a configuration of `kind`.

    Raises:
        ConfigError: one line for each problem: place and key, value, rule and, for an unknown key, the closest known.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                *path, last = problem["loc"]
                known = _settings_at(kind, path)
                cure = did_you_mean(str(last), known) if known else "; there are no settings"
                lines.append(f"{place}.{key}: unknown key{cure}")
            elif problem["type"] == "missing":
                lines.append(f"{place}.{key}: field required")
            elif key:
                lines.append(f"{place}.{key}: {shown(problem['input'])}: {message[0].lower()}{message[1:]}")
            else:
                lines.append(f"{place}: {message[0].lower()}{message[1:]}")
        raise ConfigError(replace_surrogates("\n".join(lines))) from error


def _settings_at(kind: type[BaseModel], path: list[int | str]) -> list[str]:
    """Return the names of the settings of the table that lies at `path` in a configuration."""
    for part in path:
        field = kind.model_fields.get(str(part))
        if field is not None:
            kind = next(_models_in(field.annotation), kind)
    return list(kind.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  # any type that a field may have
    """Yield the configurations that a type speaks of, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def shown(value: Any) -> str:  # noqa: ANN401  # whatever was given
    """Return a bad value as a message shows it, cut short."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


class Configurable:
    """A named part with a configuration, made as `Part(key=value, ...)`.

    What it learns goes through `arrays` and `restore`, so that a saved part is data and never code.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Config]] = Config
    config: Any  # an instance of the subclass's own Config; subclasses annotate it

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # checked by the subclass's Config
        self.config = parse_config(self.Config, settings, place=self.name)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was learnt, by name."""
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` returned.

        Raises:
            ArtifactError: an array is missing or has an impossible shape.
        """


def text_array(text: str) -> NDArray[np.uint8]:
    """Pack a string as UTF-8 bytes, so that it can be saved beside arrays."""
    import numpy as np

    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).copy()


def array_text(array: NDArray[np.uint8]) -> str:
    """Unpack what `text_array` packed."""
    return array.tobytes().decode("utf-8")


def under(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with "PREFIX.", without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
