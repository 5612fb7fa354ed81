"""Types of events that say something else than interest, by `plain` name."""

from __future__ import annotations

AGAINST = frozenset({"dislike", "thumbs_down", "hide", "not_interested", "return"})
"""Events by which a shopper says that a product is not wanted."""
NEUTRAL = frozenset({"impression", "remove_from_cart"})
"""Events that say nothing about taste."""
LOOKS = frozenset({"view", "view_item", "detail_page_view", "click", "select_item"})
"""Events by which a shopper looked and no more."""


def plain(event_type: str) -> str:
    """Return the one form of an event type's name."""
    return event_type.lower().replace("-", "_")
