"""Evidence in sentences, English and German."""

from __future__ import annotations

from typing import get_args

import pytest

from tastemaker import registry
from tastemaker.explain import Evidence
from tastemaker.text.reason_words import GERMAN, WORDINGS, Language, worded

BOUGHT = Evidence("history", "1", "Bohrer {10} mm", "bought by shoppers who bought", 0.7, "transitions")
OTHER = Evidence("history", "2", 'Dübel "M6"', "bought by shoppers who bought", 0.3, "transitions")
BRAND = Evidence("attribute", "1", "brand", "Bögner", 1.0, "catalogue")
CATEGORY = Evidence("attribute", "1", "categories", "Maschinen", 1.0, "catalogue")
STRANGE = Evidence("attribute", "1", "colour", "rot", 1.0, "catalogue")
POPULAR = Evidence("popularity", None, "popular", "12", 1.0, "popular")
WISHES = (Evidence("wish", None, "shampoo", "", 0.5, "wish"), Evidence("wish", None, "mild", "", 0.5, "wish"))


@pytest.mark.parametrize(
    ("evidence", "english", "german"),
    [
        (
            (BOUGHT, OTHER, BRAND),
            'Bought by shoppers who bought "Bohrer {10} mm" and "Dübel \'M6\'"; the same brand as before: Bögner.',
            'Gekauft von Kunden, die auch "Bohrer {10} mm" und "Dübel \'M6\'" gekauft haben; '
            "dieselbe Marke wie zuvor: Bögner.",
        ),
        ((CATEGORY,), "The same category as before: Maschinen.", "Dieselbe Kategorie wie zuvor: Maschinen."),
        ((STRANGE,), "The same colour as before: rot.", "Wie zuvor: rot (colour)."),
        ((POPULAR,), "Popular with other shoppers: bought 12 times.", "Beliebt bei anderen: 12-mal gekauft."),
        (WISHES, "Fits your wish: shampoo, mild.", "Passt zu Ihrem Wunsch: shampoo, mild."),
        (
            (),
            "Chosen by ease; no single purchase or attribute explains it.",
            "Ausgewählt von ease; kein einzelner Kauf und keine Eigenschaft erklärt es.",
        ),
    ],
)
def test_the_same_evidence_in_two_languages(evidence, english, german):
    assert worded(evidence, ranker="ease") == english
    assert worded(evidence, ranker="ease", language="de") == german


def test_every_model_that_cites_purchases_has_german_words():
    names = [name for name in registry.names() if registry.group_of(name) in ("collaborative", "content")]
    said = {getattr(registry.model_class(name), "because", None) for name in names} - {None}
    assert said == set(GERMAN.because)
    assert tuple(WORDINGS) == get_args(Language)


def test_what_a_plug_in_says_has_neutral_words_in_german():
    plug_in = Evidence("history", "1", "Hammer", "worn with", 1.0, "mine")
    assert worded([plug_in], ranker="mine") == 'Worn with "Hammer".'
    assert worded([plug_in], ranker="mine", language="de") == 'Passt zu "Hammer".'
