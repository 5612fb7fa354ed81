"""Texts that come from web pages as plain text: entities unescaped, tags and hostile characters removed."""

from __future__ import annotations

import html
import re

from tastemaker.characters import strip_hostile

TAG = re.compile(r"<[^<>]{0,500}>")
UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|noscript)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL
)
ELEMENT = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


def plain(text: str) -> str:
    """Unescape entities, remove tags and hostile characters, collapse white space."""
    return " ".join(strip_hostile(TAG.sub(" ", html.unescape(text))).split())


def page_text(text: str) -> str:
    """Return what a browser shows of a piece of HTML, as one line without hostile characters.

    Tags go before entities are unescaped, so that a written "5 &lt; 6 &gt; 4" keeps its signs; a tag that was escaped
    itself, as in feeds that escape twice, goes after that.
    """
    if "<" in text:
        text = ELEMENT.sub(" ", UNSEEN.sub(" ", text))
    if "&" in text:
        text = html.unescape(text)
        if "<" in text:
            text = ELEMENT.sub(" ", UNSEEN.sub(" ", text))
    return " ".join(strip_hostile(text).split())
