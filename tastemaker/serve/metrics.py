"""Counts and times for Prometheus; no label holds an id, a key or a text."""

from __future__ import annotations

import time
from collections import Counter as Counts
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from tastemaker.serve.engine.asks import Answer
    from tastemaker.serve.shops import Shop
    from tastemaker.store.health import Condition

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What happened since the process began; each service has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tastemaker_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "tastemaker_request_seconds", "Time to the answer.", ["route"], buckets=SECONDS, registry=self.registry
        )
        self._lists = Counter(
            "tastemaker_lists",
            "Lists by strategy, and whether degraded.",
            ["strategy", "degraded"],
            registry=self.registry,
        )
        self._places = Counter(
            "tastemaker_places", "Places of lists by who filled them.", ["source"], registry=self.registry
        )
        self._products = Gauge(
            "tastemaker_products", "Products that the active model knows.", ["tenant"], registry=self.registry
        )
        self._products_shown = Gauge(
            "tastemaker_products_shown",
            "Of these, how many stood in a list since the model became active here.",
            ["tenant"],
            registry=self.registry,
        )
        self._shown: dict[str, tuple[str, set[int]]] = {}  # by tenant: the model, and numbers of its products
        self._faults = Counter("tastemaker_faults", "Why lists were degraded.", ["fault"], registry=self.registry)
        self._events = Counter(
            "tastemaker_events", "Events by what became of them.", ["status"], registry=self.registry
        )
        self._strange = Counter(
            "tastemaker_events_of_missing_products",
            "Events of products that the catalogue did not have when they came.",
            registry=self.registry,
        )
        self._ahead = Counter(
            "tastemaker_precomputed",
            "Lists that could be made ahead, by whether they were: hit, stale, missing.",
            ["state"],
            registry=self.registry,
        )
        self._ahead_waiting = Gauge(
            "tastemaker_precompute_waiting", "Shoppers who wait for rankings.", ["tenant"], registry=self.registry
        )
        self._in_flight = Gauge("tastemaker_in_flight", "Lists under way.", registry=self.registry)
        self._breaker = Gauge(
            "tastemaker_breaker_open", "Whether the language model is left alone.", ["tenant"], registry=self.registry
        )
        self._store = Gauge(
            "tastemaker_store_fault", "1 for what keeps the store from its work.", ["state"], registry=self.registry
        )
        self._refused = Gauge(
            "tastemaker_products_refused",
            "Products that break the catalogue as they were put, and stay as they were; the log names them.",
            ["tenant"],
            registry=self.registry,
        )
        self._fault = Gauge(
            "tastemaker_model_fault",
            "Whether the active version of the model cannot be loaded, so that the one before it answers, or none.",
            ["tenant"],
            registry=self.registry,
        )
        self._lost = Gauge(
            "tastemaker_traces_lost",
            "Of lists shown and audit lines, how many could not be stored.",
            registry=self.registry,
        )
        started = Gauge("tastemaker_started_seconds", "When the process began, in Unix time.", registry=self.registry)
        started.set_to_current_time()
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}

    def count(self, scope: MutableMapping[str, Any], status: int, started: float) -> None:
        """Count a request that has been answered."""
        route = scope.get("route")
        name = getattr(route, "path", None) or (scope["path"] if scope["path"] in HOT else "other")
        key = (name, status)
        children = self._known.get(key)
        if children is None:
            children = self._known[key] = (self._requests.labels(name, str(status)), self._seconds.labels(name))
        children[0].inc()
        children[1].observe(time.perf_counter() - started)

    def list(self, answer: Answer) -> None:
        """Count a list."""
        self._lists.labels(answer.strategy, str(bool(answer.degraded)).lower()).inc()
        for fault in answer.degraded:
            self._faults.labels(fault).inc()
        if answer.ahead is not None:
            self._ahead.labels(answer.ahead).inc()
        for source, count in Counts(one.source for one in answer.items).items():
            self._places.labels(source).inc(count)

    def shown(self, tenant: str, answer: Answer) -> None:
        """Remember which products a list showed to a shopper."""
        version, numbers = self._shown.get(tenant, ("", set()))
        if version != answer.model_version:
            version, numbers = self._shown[tenant] = (answer.model_version, set())
        numbers.update(one.number for one in answer.items)

    def forget(self, tenant: str) -> None:
        """Forget which products a shop showed, as it is closed."""
        self._shown.pop(tenant, None)

    def events(self, statuses: Sequence[str], *, missing: int = 0) -> None:
        """Count events by what became of them, and those of products that the catalogue does not have."""
        self._strange.inc(missing)
        for status, count in Counts(statuses).items():
            self._events.labels(status).inc(count)

    def store(self, condition: Condition, lost: int) -> None:
        """Note what the store can do, and how much was lost that nobody waits for."""
        self._store.clear()
        if condition.state != "ok":
            self._store.labels(condition.state).set(1)
        self._lost.set(lost)

    def page(self, shops: dict[str, Shop], tenant: str, *, waiting: int = 0) -> bytes:
        """Return in Prometheus' text format what goes for the process, and of the shops only the tenant's own.

        Args:
            shops: by tenant.
            tenant: whose numbers are shown.
            waiting: its shoppers who wait for rankings made ahead.
        """
        self._in_flight.set(sum(shop.engine.in_flight for shop in shops.values()))
        known = (self._products, self._products_shown, self._refused)
        for gauge in (*known, self._breaker, self._ahead_waiting, self._fault):
            gauge.clear()
        self._ahead_waiting.labels(tenant).set(waiting)
        shop = shops.get(tenant)
        if shop is not None:
            breaker = shop.engine.language_model.breaker
            self._breaker.labels(tenant).set(0 if breaker is None or breaker.state == "closed" else 1)
            self._refused.labels(tenant).set(len(shop.engine.views.refused))
            self._fault.labels(tenant).set(0 if shop.fault is None else 1)
            view = shop.engine.views.now
            size = 0 if view is None else view.live.size
            version, numbers = self._shown.get(tenant, ("", set()))
            if view is None or version != view.live.version:
                numbers = set()
            self._products.labels(tenant).set(size)
            self._products_shown.labels(tenant).set(sum(number < size for number in numbers))
        return generate_latest(self.registry)


HOT = frozenset({"/v1/recommend", "/v1/events"})
