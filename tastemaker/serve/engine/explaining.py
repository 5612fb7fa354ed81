"""Reasons for a list: by whoever placed a product, with evidence from history, catalogue and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.serve.engine import ahead

if TYPE_CHECKING:
    from tastemaker.explain import Reason
    from tastemaker.serve.engine.asked import Asked
    from tastemaker.serve.engine.asks import Listed
    from tastemaker.text.reason_words import Language

CITED = 20
"""Newest products of the history that the reason for a new product may cite."""


def reasons(asked: Asked, language: Language = "en") -> list[dict[str, Any] | None]:
    """Return the reason for each product of the answer's list, in its order; None where nothing is known of it."""
    view = asked.view
    size = view.live.size
    found: dict[int, Reason] = {}
    for one in asked.answer.items:
        if one.number < size:
            texts = view.texts if one.source == "text" else None
            explainer = view.live.explainer if texts is None else texts.explainer
            reason = explainer.reason(asked.history, one.number, wish=asked.words, language=language)
            kept = (
                None if asked.made is None or language != "en" else asked.made.reasons.get(view.shelf.id_of(one.number))
            )
            found[one.number] = ahead.phrased(reason, kept, explainer, one.number)
    new = [one for one in asked.answer.items if one.number >= size]
    if new:
        found |= _of_new(asked, new, language)
    return [
        found[one.number].to_dict() | {"grounded": True} if one.number in found else None for one in asked.answer.items
    ]


def _of_new(asked: Asked, listed: list[Listed], language: Language) -> dict[int, Reason]:
    """Return reasons for products that the model does not know, from a small catalogue of them and the history."""
    view = asked.view
    history = [*asked.history.tolist(), *asked.later][-CITED:]
    numbers = list(dict.fromkeys([*history, *(one.number for one in listed)]))
    row = {number: place for place, number in enumerate(numbers)}
    cited = np.array([row[number] for number in history], dtype=np.int32)
    if view.texts is None or view.new is None:
        return {}
    width = view.texts.model.vectors.shape[1]
    vectors = np.zeros((len(numbers), width), dtype=np.float32)
    for number, place in row.items():
        known = number < view.live.size
        vectors[place] = view.texts.model.vectors[number] if known else view.new.vectors_of([number])[0]
    explainer = view.texts.explainer_of(view.shelf, numbers, vectors)
    return {one.number: explainer.reason(cited, row[one.number], wish=asked.words, language=language) for one in listed}
