"""Characters that shop texts and ids should not contain: control, invisible, and bidirectional-override characters.

Product text is hostile until proven otherwise: these characters hide instructions from people while a language model
reads them (OWASP LLM Top 10:2026), or reorder what a person sees.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# C0 and C1 controls without tab, newline and carriage return.
CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
# Embeddings, overrides and isolates that change the reading direction, and the marks that go with them.
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Zero-width characters, soft hyphen, fillers, variation selectors, the tag block, and the private-use planes.
INVISIBLE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)

CONTROL_PATTERN = f"[{CONTROL}]"
BIDI_PATTERN = f"[{BIDI}]"
INVISIBLE_PATTERN = f"[{INVISIBLE}]"
HOSTILE_PATTERN = f"[{CONTROL}{BIDI}{INVISIBLE}]"

_HOSTILE = re.compile(HOSTILE_PATTERN)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no encoding can write it


@cache
def mark_ranges() -> str:
    r"""Return the marks that belong to letters (vowel signs of Thai, Hindi or Arabic), as ranges of a character class.

    Python's \w leaves them out, so a pattern without them breaks words of these scripts.
    """
    marks = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
    starts = [code for code, before in zip(marks, [-1, *marks], strict=False) if code != before + 1]
    ends = [code for code, after in zip(marks, [*marks[1:], -1], strict=True) if after != code + 1]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))


@cache
def letter_run(least: int) -> str:
    """Return the pattern of a run of at least `least` letters, each with the marks on it; digits and "_" are none."""
    return rf"(?:[^\W\d_][{mark_ranges()}]*){{{least},}}"


def strip_hostile(text: str) -> str:
    """Remove control, bidirectional and invisible characters from `text`; tab and line ends stay."""
    return _HOSTILE.sub("", text)


def replace_surrogates(text: str) -> str:
    """Put U+FFFD for every lone surrogate in `text`, so that it can be written, tokenized and hashed."""
    return _LONE_SURROGATE.sub("\ufffd", text)
