"""Bodies of requests and answers. Ids are opaque strings of at most 256 UTF-8 bytes; unknown keys are refused."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tastemaker.serve.engine.asks import Strategy  # pydantic reads it at run time
from tastemaker.text.prompting.prompts import WISH_LENGTH
from tastemaker.text.wishes.wish import Filters

ID_BYTES = 256
LIST = 100
"""Longest list."""


def checked_id(value: str) -> str:
    """Return an id in its one form (NFC).

    Raises:
        ValueError: empty, too long, with control characters, or not writable.
    """
    value = unicodedata.normalize("NFC", value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError("an id must be valid Unicode") from error
    if not 0 < size <= ID_BYTES:
        raise ValueError(f"an id has 1 to {ID_BYTES} bytes")
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        raise ValueError("an id has no control characters")
    return value


Id = Annotated[str, AfterValidator(checked_id), Field(json_schema_extra={"minLength": 1, "maxLength": ID_BYTES})]
Ids = Annotated[list[Id], Field(max_length=200)]
Text = Annotated[str, Field(max_length=WISH_LENGTH)]


class Body(BaseModel):
    """Base of all bodies of requests."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Asker(Body):
    """Who asks, and how long the answer may take.

    Attributes:
        user_id: the shopper; one who is not known gets what is popular.
        session_items: products looked at in this visit, oldest first; not kept.
        wish: what the shopper wants, in words.
        budget_ms: time for the answer.
        explain: whether each product comes with a reason and its evidence.
        strategy: who answers: "auto" decides by the length of the history.
    """

    user_id: Id | None = None
    session_items: Ids = []
    wish: Text = ""
    budget_ms: Annotated[int, Field(ge=10, le=60_000)] | None = None
    explain: bool = False
    strategy: Strategy | None = None


class RecommendBody(Asker):
    """What to recommend, and to whom.

    Attributes:
        context_item_id: the product that is looked at right now; it is not listed itself.
        filters: what products must have.
        exclude: products that must not be listed.
        n: length of the list.
        diversity: 0 for the best list, up to 1 for a varied one.
        seen: whether products of the history may be listed.
        preview: whether no shopper will see the list: it takes part in no experiment, and is not noted as shown.
        place: where in the shop the list stands, such as "home"; `when.strategies` of business rules names it.
    """

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"user_id": "u1", "n": 5, "explain": True, "wish": "under 20"}]},
    )

    context_item_id: Id | None = None
    filters: Filters | None = None
    exclude: Annotated[list[Id], Field(max_length=1000)] = []
    n: Annotated[int, Field(ge=1, le=LIST)] | None = None
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    seen: bool = False
    preview: bool = False
    place: Id | None = None


class ItemBody(Body):
    """A product of which others are wanted.

    Attributes:
        item_id: the product.
        n: length of the list.
        filters: what products must have.
        exclude: products that must not be listed.
        budget_ms: time for the answer.
        explain: whether each product comes with a reason and its evidence.
    """

    item_id: Id
    n: Annotated[int, Field(ge=1, le=LIST)] | None = None
    filters: Filters | None = None
    exclude: Annotated[list[Id], Field(max_length=1000)] = []
    budget_ms: Annotated[int, Field(ge=10, le=60_000)] | None = None
    explain: bool = False


class RerankBody(Asker):
    """Candidates of the caller's own, to be put in order.

    Attributes:
        item_ids: the candidates; what nobody has an opinion on keeps the caller's order below.
        n: length of the list; all of them where it is not given.
    """

    item_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]
    n: Annotated[int, Field(ge=1, le=500)] | None = None


class ExplainBody(Body):
    """Products to give reasons for.

    Attributes:
        user_id: the shopper.
        session_items: products looked at in this visit, oldest first.
        item_ids: the products.
        wish: what the shopper wants, in words.
        budget_ms: time for the answer.
    """

    user_id: Id | None = None
    session_items: Ids = []
    item_ids: Annotated[list[Id], Field(min_length=1, max_length=LIST)]
    wish: Text = ""
    budget_ms: Annotated[int, Field(ge=10, le=60_000)] | None = None


class EvidenceOut(BaseModel):
    """One fact behind a reason."""

    kind: str
    item_id: str | None
    name: str
    value: str
    weight: float
    source: str


class ReasonOut(BaseModel):
    """Why a product is listed; "grounded" says that each claim was checked against history and catalogue."""

    text: str
    phrased_by: str
    evidence: list[EvidenceOut]
    grounded: bool


class ItemOut(BaseModel):
    """One place of a list."""

    item_id: str
    title: str | None
    brand: str | None
    categories: list[str] | str | None
    price: float | None
    currency: str | None
    image_link: str | None
    rank: int
    score: float | None
    source: str
    reason: ReasonOut | None


class ListOut(BaseModel):
    """A list, and how it came about; `request_id` goes back in events."""

    request_id: str
    model_version: str
    strategy: str
    variant: str | None
    degraded: bool
    degraded_reason: str | None
    took_ms: float
    timings: dict[str, float]
    missing_ids: list[str]
    notes: list[str]
    wish: dict[str, Any] | None = None
    items: list[ItemOut]


class ProblemOut(BaseModel):
    """What went wrong, by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] = []


class FoundItem(BaseModel):
    """A product as it is shown."""

    item_id: str
    title: str | None
    brand: str | None
    categories: list[str] | str | None
    price: float | None
    currency: str | None
    image_link: str | None


class FoundItems(BaseModel):
    """Products that were found; `total` counts those that are not listed, too."""

    total: int
    items: list[FoundItem]


class FoundUser(BaseModel):
    """A shopper, and how many products of theirs the model was fitted with."""

    user_id: str
    products: int


class FoundUsers(BaseModel):
    """Shoppers that were found; `total` counts those that are not listed, too."""

    total: int
    users: list[FoundUser]


class HistoryItem(FoundItem):
    """A product of a history, known from what the model was fitted with ("model") or from "events" since."""

    known_from: str


class HistoryOut(BaseModel):
    """What recommendations for a shopper rest on, the newest last; and products that are not wanted."""

    user_id: str
    items: list[HistoryItem]
    not_wanted: list[FoundItem]
