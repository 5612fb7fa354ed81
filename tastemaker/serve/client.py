"""A typed client of the service.

    with Client("http://127.0.0.1:8000", key="...") as shop:
        answer = shop.recommend(user_id="u1", n=5, explain=True)
        first = answer.items[0]
        shop.send([Event("u1", first.item_id, "view", request_id=answer.request_id)])

Requests that the service turns away for now (429, 503) are sent again after the time that it names, and so are those
that no connection could be had for; events have ids, so sending them again is safe.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx2

from tastemaker.errors import TastemakerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ATTEMPTS = 3
AGAIN = frozenset({429, 503})


class ServiceError(TastemakerError):
    """The service refused, or could not be reached.

    Attributes:
        status: of HTTP, 0 where it could not be reached.
        request_id: names the request in the service's log.
    """

    def __init__(self, status: int, detail: str, request_id: str = "") -> None:
        super().__init__(f"HTTP {status}: {detail}" if status else detail)
        self.status, self.request_id = status, request_id


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a product is listed.

    Attributes:
        text: one sentence.
        evidence: what it rests on, as the service gives it.
        grounded: whether each claim was checked against history and catalogue.
    """

    text: str
    evidence: tuple[Mapping[str, Any], ...]
    grounded: bool


@dataclass(frozen=True, slots=True)
class Product:
    """One place of a list.

    Attributes:
        item_id, title, brand, price, currency, image_link: of the product.
        rank: from 1.
        score: comparable within one source only.
        source: who placed it.
        reason: where reasons were asked for.
    """

    item_id: str
    rank: int
    score: float | None
    source: str
    title: str | None = None
    brand: str | None = None
    price: float | None = None
    currency: str | None = None
    image_link: str | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A list, and how it came about.

    Attributes:
        request_id: goes back in events, so that they can be attributed.
        model_version, strategy, variant: who answered.
        degraded: whether something could not be done in time.
        degraded_reason: what.
        took_ms: inside the service.
        items: the list.
        missing_ids: ids of the request that are not known.
        notes: what the caller should know.
    """

    request_id: str
    model_version: str
    strategy: str
    variant: str | None
    degraded: bool
    degraded_reason: str | None
    took_ms: float
    items: tuple[Product, ...]
    missing_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something a shopper did; `event_id` is made up where it is not given, so that it can be sent again."""

    user_id: str
    item_id: str
    event_type: str
    timestamp: int | None = None
    value: float | None = None
    session_id: str | None = None
    request_id: str | None = None
    position: int | None = None
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Client:
    """Speaks to one service; may be used by several threads.

    Args:
        url: of the service.
        key: access key; "" for none.
        timeout: seconds for one attempt.
        pause: how to wait between attempts, in seconds.
    """

    def __init__(
        self, url: str, *, key: str = "", timeout: float = 10.0, pause: Callable[[float], None] = time.sleep
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout, follow_redirects=False)
        self._pause = pause

    def recommend(
        self,
        *,
        user_id: str | None = None,
        session_items: Sequence[str] = (),
        context_item_id: str | None = None,
        wish: str = "",
        filters: Mapping[str, Any] | None = None,
        exclude: Sequence[str] = (),
        n: int = 10,
        strategy: str | None = None,
        explain: bool = False,
        diversity: float = 0.0,
        budget_ms: int | None = None,
        seen: bool = False,
    ) -> Answer:
        """Recommend products; see `POST /v1/recommend`.

        Raises:
            ServiceError: the service refused, or could not be reached.
        """
        body = {
            "user_id": user_id,
            "session_items": [*session_items],
            "context_item_id": context_item_id,
            "wish": wish,
            "filters": filters,
            "exclude": [*exclude],
            "n": n,
            "strategy": strategy,
            "explain": explain,
            "diversity": diversity,
            "budget_ms": budget_ms,
            "seen": seen,
        }
        return _answer(self._ask("POST", "/v1/recommend", body))

    def similar(self, item_id: str, *, n: int = 10, explain: bool = False) -> Answer:
        """Return products that are alike."""
        return _answer(self._ask("POST", "/v1/similar", {"item_id": item_id, "n": n, "explain": explain}))

    def complementary(self, item_id: str, *, n: int = 10, explain: bool = False) -> Answer:
        """Return products that go along."""
        return _answer(self._ask("POST", "/v1/complementary", {"item_id": item_id, "n": n, "explain": explain}))

    def rerank(
        self, item_ids: Sequence[str], *, user_id: str | None = None, session_items: Sequence[str] = (), wish: str = ""
    ) -> Answer:
        """Put candidates of the caller's own in order."""
        body = {"item_ids": [*item_ids], "user_id": user_id, "session_items": [*session_items], "wish": wish}
        return _answer(self._ask("POST", "/v1/rerank", body))

    def explain(self, item_ids: Sequence[str], *, user_id: str | None = None) -> Answer:
        """Return the reasons for products, in their order."""
        return _answer(self._ask("POST", "/v1/explain", {"item_ids": [*item_ids], "user_id": user_id}))

    def send(self, events: Sequence[Event]) -> list[str]:
        """Store events; return what became of each, once they are on disk."""
        rows = [{name: getattr(event, name) for name in Event.__slots__} for event in events]
        body = {"events": [{name: value for name, value in row.items() if value is not None} for row in rows]}
        return [str(one["status"]) for one in self._ask("POST", "/v1/events", body)["results"]]

    def put_item(self, item_id: str, **columns: Any) -> None:  # noqa: ANN401  # checked by the service
        """Put a product, whole; it can be listed soon after."""
        self._ask("PUT", f"/v1/items/{quote(item_id, safe='')}", columns)

    def hide_item(self, item_id: str, *, hidden: bool = True) -> None:
        """Let a product not be listed any more, or again."""
        self._ask("PATCH", f"/v1/items/{quote(item_id, safe='')}", {"hidden": hidden})

    def delete_item(self, item_id: str) -> None:
        """Take a product out of the catalogue."""
        self._ask("DELETE", f"/v1/items/{quote(item_id, safe='')}", None)

    def put_user(self, user_id: str, **attributes: Any) -> None:  # noqa: ANN401  # any JSON values
        """Say what the shop knows about a shopper."""
        self._ask("PUT", f"/v1/users/{quote(user_id, safe='')}", {"attributes": attributes})

    def erase_user(self, user_id: str) -> dict[str, Any]:
        """Erase a shopper; return the receipt."""
        return self._ask("DELETE", f"/v1/users/{quote(user_id, safe='')}", None)

    def rules(self) -> tuple[int, dict[str, Any]]:
        """Return the version of the business rules in force, 0 for none, and their document."""
        found = self._ask("GET", "/v1/rules", None)
        return int(found["version"]), dict(found["rules"])

    def put_rules(self, document: Mapping[str, Any]) -> int:
        """Put business rules in force; return their version."""
        return int(self._ask("PUT", "/v1/rules", {"rules": dict(document)})["version"])

    def ready(self) -> bool:
        """Say whether the service is ready; False where it cannot be reached."""
        try:
            return bool(self._client.get("/health/ready").status_code == httpx2.codes.OK)
        except httpx2.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            wait = 0.2 * attempt
            try:
                reply = self._client.request(method, path, json=None if body is None else dict(body))
            except httpx2.ConnectError as error:
                if attempt == ATTEMPTS:
                    raise ServiceError(0, f"the service cannot be reached: {type(error).__name__}") from error
            except httpx2.TransportError as error:
                raise ServiceError(0, f"the service gave no answer: {type(error).__name__}") from error
            else:
                if reply.is_success:
                    found: dict[str, Any] = reply.json()
                    return found
                if reply.status_code not in AGAIN or attempt == ATTEMPTS:
                    raise _refusal(reply)
                wait = float(reply.headers.get("retry-after", wait))
            self._pause(wait)
        raise AssertionError("unreachable")


def _refusal(reply: httpx2.Response) -> ServiceError:
    try:
        problem = reply.json()
        places = "; ".join(f"{one['place']}: {one['message']}" for one in problem.get("errors", []))
        detail = str(problem["detail"]) + (f" ({places})" if places else "")
        return ServiceError(reply.status_code, detail, str(problem["request_id"]))
    except (ValueError, KeyError, TypeError):
        return ServiceError(reply.status_code, reply.reason_phrase)


def _answer(found: Mapping[str, Any]) -> Answer:
    return Answer(
        found["request_id"],
        found["model_version"],
        found["strategy"],
        found["variant"],
        found["degraded"],
        found["degraded_reason"],
        found["took_ms"],
        tuple(_product(item) for item in found["items"]),
        tuple(found["missing_ids"]),
        tuple(found["notes"]),
    )


def _product(item: Mapping[str, Any]) -> Product:
    given = item["reason"]
    reason = None if given is None else Reason(given["text"], tuple(given["evidence"]), given["grounded"])
    shown = {name: item.get(name) for name in ("title", "brand", "price", "currency", "image_link")}
    return Product(item["item_id"], item["rank"], item["score"], item["source"], **shown, reason=reason)
