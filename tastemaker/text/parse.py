"""Reading what language models wrote. Every parser is total: any string gives a result, never an exception."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tastemaker.characters import letter_run
from tastemaker.text.clean import clean
from tastemaker.text.prompting.prompts import LETTERS

KEYWORD_LENGTH = 40
LINE_LENGTH = 200
"""Characters of a line that are looked at: the pattern below takes quadratic time."""

TEXT_LENGTH = 4000
"""Characters of a free text that are looked at."""

OBJECTS = 20
"""Places at which a JSON object is tried to begin."""

_WORD = re.compile(letter_run(2))
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_REFUSAL = re.compile(
    r"\b(?:as an? (?:ai|(?:large )?language) ?model|i(?:'m| am) sorry|i can(?:not|'t) )", re.IGNORECASE
)
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022]\s*|\d{1,3}\s*[.)]\s+)")
_LETTER = re.compile(
    r"(?<![A-Za-z])"
    r"(?![AI] +(?!(?:and|or|then|is|first|best|because|as|since|for|fits|suits)\b)[a-z])"  # "A gift", "I think"
    r"([A-Z])(?![A-Za-z'\u2019])"
)
_KEYWORD_LINE = re.compile(
    r"^\s*(?:[-*\u2022]\s*|\d+\s*[.)]\s*)?[\"'*]*(?P<word>[^:\n]*?[^\W\d_][^:\n]*?)[\"'*]*\s*:\s*(?P<support>.+)$"
)


@dataclass(frozen=True, slots=True)
class LetterList:
    """Positions read from a list of letters.

    Attributes:
        positions: distinct valid positions, in the order they were written.
        invalid: letters that stood for no candidate.
        repeated: letters written again.
    """

    positions: tuple[int, ...]
    invalid: int
    repeated: int


def letters(text: str, count: int) -> LetterList:
    """Read positions from an answer such as "C, A, F"; `count` candidates were offered."""
    positions: list[int] = []
    invalid = repeated = 0
    for match in _LETTER.finditer(text):
        position = LETTERS.index(match[1])
        if position >= count:
            invalid += 1
        elif position in positions:
            repeated += 1
        else:
            positions.append(position)
    return LetterList(tuple(positions), invalid, repeated)


def keywords(text: str, count: int) -> list[tuple[str, tuple[int, ...]]]:
    """Read "keyword: 1, 3" lines; `count` products were shown, numbered from 1.

    Returns:
        (keyword, 0-based positions of its products), in the order written; a line without a keyword, without a
        valid number, or with a keyword said before is left out.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    for line in text.splitlines():
        match = _KEYWORD_LINE.match(line[:LINE_LENGTH])
        if match is None:
            continue
        word = clean(match["word"], max_length=KEYWORD_LENGTH).strip(" .,;\"'").lower()
        numbers = dict.fromkeys(int(number) - 1 for number in re.findall(r"\d{1,4}", match["support"]))
        support = tuple(number for number in numbers if 0 <= number < count)
        if word and support and word not in (known for known, _ in found):
            found.append((word, support))
    return found


def sentences(text: str, *, max_length: int, least_words: int = 3) -> str:
    """Read free text of a model: cleaned, each sentence once, cut; "" where it says nothing or refuses to answer.

    Args:
        text: as written.
        max_length: characters of the result.
        least_words: words that a text must have; a word has two letters at least.
    """
    cleaned = clean(text[:TEXT_LENGTH])
    if _REFUSAL.search(cleaned):
        return ""
    parts = dict.fromkeys(part.strip() for part in _SENTENCE_END.split(cleaned) if _WORD.search(part))
    said = clean(" ".join(parts), max_length=max_length)
    return said if len({word.lower() for word in _WORD.findall(said)}) >= least_words else ""


def json_object(text: str) -> dict[str, Any] | None:
    """Read the first JSON object in a model's answer, whatever stands around it; None where there is none."""
    text = text[:TEXT_LENGTH]
    decoder = json.JSONDecoder()
    for start in [match.start() for match in re.finditer(r"\{", text)][:OBJECTS]:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def phrases(text: str, *, most: int, words: int) -> list[str]:
    """Read a list of short phrases with commas or line ends between them.

    Returns:
        At most `most` different phrases in lower case, each of at most `words` words and `KEYWORD_LENGTH` characters;
        what is longer is prose, and left out.
    """
    found: dict[str, None] = {}
    for part in re.split(r"[,;\n]", text[:TEXT_LENGTH]):
        phrase = clean(re.sub(r"^\s*(?:[-*\u2022]|\d+\s*[.)])\s*", "", part)).strip(" .\"'*:").lower()
        if _WORD.search(phrase) and len(phrase) <= KEYWORD_LENGTH and len(phrase.split()) <= words:
            found[phrase] = None
    return list(found)[:most]


def title(text: str, *, max_length: int) -> str:
    """Read a product's title from what a model wrote: its first line with a word, without list marks and quotes.

    "" where there is none, or where the model refuses to answer.
    """
    for line in text[:TEXT_LENGTH].splitlines():
        said = clean(_LIST_MARK.sub("", line), max_length=max_length).strip(" \"'*")
        if _WORD.search(said):
            return "" if _REFUSAL.search(said) else said
    return ""
