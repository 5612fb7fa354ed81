"""A comparison's JSON as typed, clean parts: what is missing, null or not finite is None or empty."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from tastemaker.characters import replace_surrogates, strip_hostile
from tastemaker.errors import DataError

FORMAT = 1
SHOWN_PURCHASES = 20
"""Newest purchases of an example shopper that are shown."""
LEAST = 20
"""Questions from which on figures are compared."""

ABOVE = "above the floor"
WITHIN = "within the noise of the floor"
BELOW = "below the floor"
FLOOR = "floor"


def without_nulls(values: Any) -> Any:  # noqa: ANN401  # any JSON value; pydantic refuses what does not fit
    """Return a JSON object without the keys that hold null; anything else as it is."""
    return {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys are left alone, null means missing."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, values: Any) -> Any:  # noqa: ANN401  # any JSON value
        return without_nulls(values)


class Measured(Part):
    """A measure's value, its interval, and its standard deviation over seeds."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None


Metrics = Annotated[dict[str, Measured], BeforeValidator(without_nulls)]
"""Measure -> what was measured; null means that it was not."""


class Difference(Part):
    """A paired difference with its interval and its p value before and after Holm's correction."""

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    significant: bool = False


class AgainstFloor(Difference):
    """The difference to the best row of the floor."""

    model: str = ""


class Pair(Difference):
    """The difference of model `a` to model `b`."""

    variant: str = ""
    measure: str = ""
    a: str
    b: str


class Slice(Part):
    """The measures of one group of queries or targets."""

    by: str
    group: str = ""
    queries: int | None = None
    metrics: Metrics = {}


class Gap(Part):
    """The worst and the best group of one grouping."""

    by: str
    measure: str = ""
    worst: str = ""
    worst_value: float | None = None
    worst_queries: int | None = None
    best: str = ""
    best_value: float | None = None
    best_queries: int | None = None
    gap: float | None = None
    p_holm: float | None = None
    significant: bool | None = None


class Curves(Part):
    """Exposure over items, and catalogue coverage over list lengths."""

    lorenz: list[tuple[float | None, float | None]] = []
    coverage: list[tuple[float | None, float | None]] = []


class Trust(Part):
    """What went wrong in lists, language-model stages and reasons."""

    lists: dict[str, Any] = {}
    language_model: list[dict[str, Any]] = []
    reasons: dict[str, Any] = {}
    sensitivity: dict[str, Any] = {}


class Cost(Part):
    """Seconds, memory, latency, and what 1,000 requests take."""

    fit_seconds: float | None = None
    rank_seconds: float | None = None
    latency_ms: dict[str, float | None] = {}
    peak_mib: float | None = None
    language_models: list[Any] = []
    per_1000_requests: dict[str, Any] = {}


class Row(Part):
    """One model under one variant of the protocol."""

    model: str
    floor: bool = False
    variant: str = ""
    error: str = ""
    seeds: int | None = None
    config: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    metrics: Metrics = {}
    verdict: str = ""
    against_floor: AgainstFloor = AgainstFloor()
    slices: list[Slice] = []
    gaps: list[Gap] = []
    cold_start: list[dict[str, float | None]] = []
    curves: Curves = Curves()
    stages: list[dict[str, Any]] = []
    trust: Trust = Trust()
    cost: Cost = Cost()
    learning_curve: list[dict[str, float | None]] = []

    def measured(self, measure: str) -> Measured:
        """Return a measure, empty if it was not taken."""
        return self.metrics.get(measure, Measured())

    def value(self, measure: str) -> float | None:
        """Return a measure's value, or None if it was not taken."""
        return self.measured(measure).value

    @property
    def seconds(self) -> float | None:
        """Seconds to fit and rank, of what was measured."""
        known = [value for value in (self.cost.fit_seconds, self.cost.rank_seconds) if value is not None]
        return sum(known) if known else None


class Point(Part):
    """One item on the map."""

    x: float | None = None
    y: float | None = None
    title: str = ""
    category: str = ""
    popularity: float | None = None


class ItemMap(Part):
    """Items in two dimensions."""

    of: str = ""
    points: list[Point] = []


class Listed(Part):
    """One listed product of an example."""

    name: str = ""
    hit: bool = False
    reason: str = ""


class ExampleList(Part):
    """What one model lists for an example shopper."""

    model: str = ""
    items: list[Listed] = []


class Example(Part):
    """One shopper: what was bought before, what was bought then, and what each model listed."""

    shopper: str = ""
    history: list[str] = []
    bought: list[str] = []
    lists: list[ExampleList] = []

    @property
    def name(self) -> str:
        """The shopper's name, called a shopper."""
        called = self.shopper.lower().startswith("shopper")
        return self.shopper[:1].upper() + self.shopper[1:] if called else f"Shopper {self.shopper}"

    @property
    def newest(self) -> list[str]:
        """The newest purchases, as many as a page has room for, oldest first."""
        return self.history[-SHOWN_PURCHASES:]

    @property
    def earlier(self) -> int:
        """Number of purchases before those."""
        return len(self.history) - len(self.newest)


class Comparison(Part):
    """Everything that the report shows."""

    format: int
    made_by: dict[str, Any] = {}
    data: dict[str, Any] = {}
    ks: list[int] = []
    measure: str
    floor: list[str] = []
    seeds: list[int] = []
    variants: list[str] = []
    protocol: dict[str, Any] = {}
    rows: list[Row] = []
    pairs: list[Pair] = []
    map: ItemMap = ItemMap()
    examples: list[Example] = []
    notes: list[str] = []

    @property
    def k(self) -> str:
        """List length of the headline measure, as written after the @."""
        return self.measure.partition("@")[2] or str(max(self.ks, default=10))

    @property
    def recall(self) -> str:
        """Recall at the headline measure's list length."""
        return f"recall@{self.k}"

    @property
    def questions(self) -> int | None:
        """Number of questions that every row answered, if that is known."""
        known = [protocol.get("test_queries") for protocol in (self.protocol, *(row.protocol for row in self.rows))]
        numbers = [count for count in known if isinstance(count, int)]
        return max(numbers, default=None)

    @property
    def too_few(self) -> bool:
        """Whether there are fewer questions than figures can be compared on."""
        return self.questions is not None and self.questions < LEAST

    @property
    def variant_names(self) -> list[str]:
        """Variants in the order given, then those that only rows name."""
        return list(dict.fromkeys([*self.variants, *(row.variant for row in self.rows)]))

    @property
    def lead(self) -> str:
        """The variant that charts show: the first that has a row."""
        run = {row.variant for row in self.rows}
        return next((name for name in self.variant_names if name in run), "")

    def ranked(self, variant: str | None = None) -> list[Row]:
        """Return the rows of a variant (the lead by default) that did not fail, best first."""
        wanted = self.lead if variant is None else variant
        rows = [row for row in self.rows if row.variant == wanted and not row.error]
        return sorted(
            rows, key=lambda row: -math.inf if (value := row.value(self.measure)) is None else value, reverse=True
        )

    def failed(self) -> list[Row]:
        """Return the rows of all variants that failed."""
        return [row for row in self.rows if row.error]


def read(comparison: dict[str, Any]) -> Comparison:
    """Check a comparison's JSON and take hostile characters and numbers that are not finite out of it.

    Raises:
        DataError: the format is another, or a part has the wrong type; the message names the place.
    """
    if comparison.get("format") != FORMAT:
        found = comparison.get("format")
        raise DataError(f"comparison.format: {found!r}: this version reads {FORMAT}; run `tastemaker compare` again")
    try:
        return Comparison.model_validate(_clean(comparison))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in ("comparison", *problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        found = repr(problem["input"])[:80]
        raise DataError(f"{place}: {found}: {message}; run `tastemaker compare` again") from error


def _clean(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, str):
        return strip_hostile(replace_surrogates(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
