"""The headers under which shops export what the canonical columns hold.

A header counts in upper and lower case, with or without blanks, hyphens, points and underscores: `Kunden-Nr.` is
`kundennr`. Of ids and times the part behind the last point counts too: `order_customer.customer_number`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Names of Amazon Personalize in lower case (event_value, product_description), and the commonest of other exports.
ALIASES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("customer_id", "visitor_id", "customer_number", "customer_no", "client_id"),
        *("kundennr", "kundennummer", "kunden_id", "kdnr"),
    ),
    "item_id": (
        *("product_id", "article_id", "sku", "product_number", "product_sku", "article_number", "lineitem_sku"),
        *("artikelnr", "artikelnummer", "artikel_id", "artnr", "produktnummer", "produkt_id"),
    ),
    "value": ("rating", "event_value"),
    "timestamp": (
        *("event_time", "order_date", "ordered_at", "datetime", "created_at", "created at", "date", "time"),
        *("order_date_time", "purchase_date", "bestelldatum", "auftragsdatum", "kaufdatum", "rechnungsdatum", "datum"),
    ),
    "event_type": ("event",),
    "title": ("name", "product_name", "bezeichnung", "artikelbezeichnung", "artikelname", "produktname", "titel"),
    "brand": ("vendor", "manufacturer", "marke", "hersteller"),
    "categories": ("category", "kategorie", "kategorien", "warengruppe"),
    "description": ("product_description", "beschreibung", "artikelbeschreibung", "produktbeschreibung"),
    "price": ("unit_price", "preis", "einzelpreis", "verkaufspreis", "vk_brutto"),
    **dict.fromkeys(("position", "split"), ()),
}
ORDINARY = frozenset({"sku"})  # stands beside an id of another kind in many a catalogue, and is not worth a note there
QUANTITY = ("quantity", "qty", "qty_ordered", "lineitem_quantity", "menge", "anzahl", "stueckzahl", "stückzahl")
"""How many were bought; below zero where they were sent back."""
NESTED = ("user_id", "item_id", "timestamp", "quantity")
"""What is told by the part of a header behind its last point too."""
OF_OTHERS = {
    "timestamp": re.compile("product|article|artikel|variant|customer|kunde|user|account|category|kategorie", re.I),
    "quantity": re.compile("stock|inventory|lager|bestand", re.I),
}
"""Parts in front of that point that say it is of something else: `product.created_at` is no time of an order."""


def plain(header: str) -> str:
    """Return a header as it is compared: letters and digits in lower case."""
    return re.sub(r"[\W_]+", "", header.casefold())


def canonical_names(columns: Sequence[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return old name -> canonical name for the columns that go by another name."""
    taken: dict[str, str] = {}
    for name in known:
        if name not in columns:
            free = [column for column in columns if column not in taken and column not in known]
            old = header_of(name, free)
            if old is not None:
                taken[old] = name
    return taken


def header_of(name: str, columns: Sequence[str]) -> str | None:
    """Return the header that means a canonical column (or "quantity"), the most exact and best known one."""
    words = QUANTITY if name == "quantity" else (name, *ALIASES.get(name, ()))
    ways: list[Callable[[str], str]] = [str.lower, plain]
    if name in NESTED:
        ways.append(lambda header: "" if _is_of_another(name, header) else plain(header.rpartition(".")[2]))
    for way in ways:
        there = {way(column): column for column in reversed(columns)}
        found = next(
            (there[one] for word in words if (one := word if way is str.lower else plain(word)) in there), None
        )
        if found is not None:
            return found
    return None


def _is_of_another(name: str, header: str) -> bool:
    others = OF_OTHERS.get(name)
    return others is not None and others.search(header.rpartition(".")[0]) is not None
