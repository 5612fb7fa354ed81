"""An experiment as data: its variants, who takes part, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from tastemaker.configurable import Config, parse_config
from tastemaker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

BETWEEN = "|"
"""Parts the variants of the places of an interleaved list; no variant's name holds it."""


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or BETWEEN in value or not value.isprintable():
        raise ValueError(f"must be a name without '{BETWEEN}' and control characters")
    return value


Name = Annotated[str, BeforeValidator(_name), Field(max_length=100)]


class Variant(Config):
    """One arm.

    Attributes:
        name: unique in the experiment.
        weight: its share of the shoppers, in proportion to the others'.
        settings: what the service does for it, e.g. {"strategy": "popular"}; any JSON values.
    """

    name: Name
    weight: float = Field(default=1.0, gt=0, le=1e6)
    settings: dict[str, Any] = Field(default={})


class Experiment(Config):
    """An experiment. What decides who is in which variant, `salt` and the order of variants, must not change later.

    Attributes:
        name: unique in the shop.
        variants: two at least; the first is the control.
        kind: "split" shows a shopper one variant; "interleave" mixes the lists of all variants.
        layer: experiments of one layer share one numbering of shoppers from 0 to 1; by default each has its own.
        traffic: the part of the layer that takes part, from (included) and to (not included). Experiments of one layer
            with ranges that do not overlap exclude each other.
        salt: another salt is another random assignment.
        since: first moment; the experiment runs from the start without it.
        until: first moment that is not part of it; it runs on without it.
        overrides: shopper -> variant, for testers. They see the variant and are left out of results.
    """

    name: Name
    variants: tuple[Variant, ...] = Field(min_length=2, max_length=20)
    kind: Literal["split", "interleave"] = "split"
    layer: str | None = None
    traffic: tuple[float, float] = (0.0, 1.0)
    salt: str = ""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    overrides: dict[str, str] = Field(default={}, max_length=10_000)

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variants share a name: {', '.join(names)}")
        low, high = self.traffic
        if not 0 <= low < high <= 1:
            raise ValueError(f"traffic {low:g} to {high:g} must lie between 0 and 1 and rise")
        unknown = sorted(set(self.overrides.values()) - set(names))
        if unknown:
            raise ValueError(f"overrides name the unknown variant '{unknown[0]}'; known: {', '.join(names)}")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must lie before until")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, place: str = "experiment") -> Self:
        """Check an experiment that is given as JSON or TOML values.

        Raises:
            ConfigError: place, value and cure of each mistake.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"{place}: must be a table with name and variants")
        return parse_config(cls, values, place=place)

    @property
    def control(self) -> str:
        """Name of the variant that the others are compared with."""
        return self.variants[0].name

    @property
    def names(self) -> list[str]:
        """Names of the variants."""
        return [variant.name for variant in self.variants]

    @property
    def shares(self) -> dict[str, float]:
        """Variant -> its share of the shoppers that take part."""
        total = sum(variant.weight for variant in self.variants)
        return {variant.name: variant.weight / total for variant in self.variants}

    def settings(self, variant: str) -> dict[str, Any]:
        """Return what the service does for a variant."""
        return next(one.settings for one in self.variants if one.name == variant)

    def runs(self, now: int) -> bool:
        """Whether the experiment runs at a time, in milliseconds UTC."""
        begun = self.since is None or now >= self.since.timestamp() * 1000
        return begun and (self.until is None or now < self.until.timestamp() * 1000)


def check_together(experiments: Sequence[Experiment]) -> None:
    """Check that experiments can run beside each other.

    Raises:
        ConfigError: a name twice, or two of one layer overlap in traffic and time.
    """
    for place, one in enumerate(experiments):
        for other in experiments[:place]:
            if one.name == other.name:
                raise ConfigError(f"experiment '{one.name}': another one is called so; rename one")
            if one.layer is None or one.layer != other.layer:
                continue
            apart = one.traffic[1] <= other.traffic[0] or other.traffic[1] <= one.traffic[0]
            after = one.until and other.since and one.until <= other.since
            before = other.until and one.since and other.until <= one.since
            if not (apart or after or before):
                raise ConfigError(
                    f"experiments '{other.name}' and '{one.name}' share the shoppers of layer '{one.layer}'; give them "
                    "ranges of traffic that do not overlap, e.g. [0, 0.5] and [0.5, 1]"
                )
