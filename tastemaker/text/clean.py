"""Shop text made plain: no markup, no characters that hide or reorder, one space between words, a bounded length."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING

from tastemaker.characters import strip_hostile
from tastemaker.confusables import fold
from tastemaker.defences import defended

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "…"  # ends a text that was cut
# Read at most this many characters of a raw text, so that one hostile description cannot hold up a catalogue.
RAW_LENGTH = 50_000
# How deep texts may be escaped ("&amp;amp;lt;") before the characters that make markup are taken out instead.
PASSES = 8

# Elements inside a line of text; every other tag ends a word.
INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"}
    | {"kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var"}
    | {"wbr"}
)
_SPACE_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")  # str.split() takes these for white space, so must we
_SURROGATE = re.compile("[\ud800-\udfff]")  # halves of a broken UTF-16 pair; no file or tokenizer takes them
_MARKUP = re.compile("[<>&]")
# What chat templates put between turns (ChatML, Llama, Mistral, Gemma, DeepSeek, Alpaca), code fences and long rules:
# no seller means them, and a model may take what follows for somebody else's words.
_CHAT = re.compile(
    r"<\|?/?(?:im_|start|end|eot|bos|eos|begin|system|assistant|user|human|tool|fim_|pad|unk)[\w ▁|]{0,40}\|?>"
    r"|<\|[^<>|]{0,40}\|>|<\||\|>|</?s>|<</?SYS>>|\[/?(?:INST|SYS|SYSTEM|ASSISTANT|USER|AVAILABLE_TOOLS|TOOL_CALLS)\]"
    r"|#{2,}[ ]*(?:instructions?|response|input|system|user|assistant|human)\b[ ]*:?"
    r"|`{3,}|~{4,}|\"{3,}|'{3,}|[-=_*#]{4,}",
    re.IGNORECASE,
)
# Both patterns read each character a bounded number of times: no branch looks past the next "<" and then fails.
# (The standard library's HTMLParser takes half a minute for 50,000 characters of "<a <a <a".)
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b[^<>]*>.*?(?:</\1\b[^<>]*>|\Z)|<[!?][^<>]*>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(
    r"""</?([a-z][^\s/<>"']*)  # a name,
        (?:(?:[^<>"']|"[^"<]*"|'[^'<]*')*+  # attributes, whose values may hold ">",
        |[^<>]*)>  # or anything else up to the end of the tag
    """,
    re.IGNORECASE | re.VERBOSE,
)


def clean(text: str, *, max_length: int | None = None) -> str:
    """Return `text` as a person would read it on the page, on one line.

    Tags and comments go, with the content of script and style; entities are decoded, however often they were escaped;
    control, invisible and direction-changing characters go; white space becomes single spaces. Idempotent.

    Characters are composed (Unicode NFC), so that equal-looking texts are equal strings. Not NFKC: that would also
    rewrite what the shop wrote ("m²" as "m2", "½" as "1⁄2", "Brand™" as "BrandTM"); only letters in disguise become
    plain (`tastemaker.confusables`). Marks of chat templates, code fences and long rules go.

    With the defences off (`tastemaker.defences`) the text comes back as it is.

    Args:
        text: any string; only its first 50,000 characters are read.
        max_length: cut to so many characters, at a word border where one is near, with "…" as the last of them; None
            is the 50,000 that are read.
    """
    if not defended():
        return text
    limit = RAW_LENGTH if max_length is None else min(max_length, RAW_LENGTH)
    text = text[: RAW_LENGTH + 1]
    if (
        text.isascii() and text.isprintable() and not _MARKUP.search(text) and not _CHAT.search(text)
    ):  # most titles; the same result, sooner
        return cut(" ".join(text.split()), limit)
    for _ in range(PASSES):
        cleaner = _pass(text, limit)
        if cleaner == text:
            return text
        text = cleaner
    return _pass(_MARKUP.sub(" ", text), limit)


def clean_all(texts: Iterable[str | None], *, max_length: int | None = None) -> list[str]:
    """Clean every text; None becomes the empty string. Repeated texts are cleaned once."""
    done: dict[str | None, str] = {None: ""}
    result = []
    for text in texts:
        if (cleaned := done.get(text)) is None:
            cleaned = done[text] = clean(text or "", max_length=max_length)
        result.append(cleaned)
    return result


def cut(text: str, max_length: int) -> str:
    """Shorten `text` to `max_length` characters, the mark "…" among them, at a word border where one is near."""
    if len(text) <= max_length or not defended():
        return text
    room = max_length - len(MARK)
    if room < 0:
        return ""
    border = text.rfind(" ", room // 2, room + 1)
    end = border if border >= 0 else room
    while end > 0 and unicodedata.combining(text[end]):  # a letter keeps its accents
        end -= 1
    return text[:end].rstrip(" ,;:-–(&/") + MARK


def _pass(text: str, limit: int) -> str:
    """Clean once; what was escaped twice needs another pass."""
    text = _SURROGATE.sub("\ufffd", _SPACE_CONTROLS.sub(" ", text))
    text = fold(unicodedata.normalize("NFC", strip_hostile(text)))
    text = _CHAT.sub(" ", text)
    if "<" in text or "&" in text:
        text = _without_markup(text)
    return cut(" ".join(text.split()), limit)


def _without_markup(text: str) -> str:
    text = _UNSEEN.sub(" ", text)
    text = _TAG.sub(lambda tag: "" if tag[1].lower() in INLINE else " ", text)
    return html.unescape(text)
