"""Letters that look like Latin ones: words that mix scripts to hide what they say become plain words.

The table holds the letters of Cyrillic, Greek, Armenian, Cherokee and Latin extensions that Unicode Technical Standard
39 (confusables.txt) calls confusable with a basic Latin letter and that fonts draw alike; full-width, mathematical,
circled and squared letters are those whose compatibility form (NFKC) is a basic Latin letter. Letters of languages that
are written in Latin, such as the Turkish dotless i, are none.
"""

from __future__ import annotations

import re
import unicodedata

from tastemaker.characters import letter_run

_ALIKE = {
    "a": "аɑαᴀ",
    "b": "Ьƅʙ",
    "c": "сϲᴄ",
    "d": "ԁᴅ",
    "e": "еҽᴇ",
    "f": "ғꜰ",
    "g": "ɡցɢ",
    "h": "һհʜ",
    "i": "іιɪ",
    "j": "јϳᴊ",
    "k": "кκᴋ",
    "l": "ӏʟ",
    "m": "мᴍ",
    "n": "ոпɴ",
    "o": "оοօσᴏ",
    "p": "рρᴘ",
    "q": "ԛզ",
    "r": "гᴦʀ",
    "s": "ѕꜱ",
    "t": "тτᴛ",
    "u": "υսᴜ",
    "v": "ѵνᴠ",
    "w": "ԝшωᴡ",
    "x": "хχ",
    "y": "уүγʏ",
    "z": "ᴢ",
    "A": "АΑᎪ",
    "B": "ВΒᏴ",
    "C": "СϹᏟ",
    "D": "Ꭰᗪ",
    "E": "ЕΕᎬ",
    "F": "Ϝᖴ",
    "G": "ԌᏀ",
    "H": "НΗᎻ",
    "I": "ІΙӀ",
    "J": "ЈᎫͿ",
    "K": "КΚᏦ",
    "L": "Ꮮ",
    "M": "МΜᎷ",
    "N": "Ν",
    "O": "ОΟՕ",
    "P": "РΡᏢ",
    "Q": "Ԛ",
    "R": "ᎡᏒ",
    "S": "ЅՏᏚ",
    "T": "ТΤᎢ",
    "U": "ՍՄ",
    "V": "ѴᏙ",
    "W": "ԜᎳ",
    "X": "ХΧ",
    "Y": "ҮΥУ",
    "Z": "ΖᏃ",
}
LATIN_OF = {other: latin for latin, others in _ALIKE.items() for other in others}

# Full-width forms, enclosed and mathematical letters: dressed-up Latin in a shop's text. Other compatibility characters
# ("m²", "½", "™") say something that their plain form does not, and stay.
_DRESSED = re.compile("[\uff01-\uff5e\u24b6-\u24e9\U0001d400-\U0001d7ff\U0001f110-\U0001f189]")
_LOOKALIKE = re.compile(f"[{''.join(LATIN_OF)}]")
_WORD = re.compile(letter_run(1))
_LATIN = re.compile(r"[A-Za-z]")
_STACKED = re.compile("([\u0300-\u036f]{2})[\u0300-\u036f]+")  # no language puts three of these on a letter


def fold(text: str) -> str:
    """Return a text whose dressed-up letters are plain and whose mixed words are Latin; other words stay.

    A word that mixes Latin letters with look-alikes of another script becomes Latin. So does a word made of look-alikes
    alone, if no word of the text is certainly of that other script: "РАУРАL" and "СОСА cola" are folded, "сок" in a
    Russian title is not.
    """
    if text.isascii():
        return text
    text = _STACKED.sub(r"\1", text)
    text = _DRESSED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    if not _LOOKALIKE.search(text) or not _LATIN.search(text):
        return text
    alone = not any(_is_foreign(word) for word in _WORD.findall(text))
    return _WORD.sub(lambda found: _latin(found[0], alone=alone), text)


def mixed_words(text: str) -> list[str]:
    """Return the words that mix Latin letters with look-alikes of another script."""
    if text.isascii() or not _LOOKALIKE.search(text):
        return []
    return [word for word in _WORD.findall(text) if _LOOKALIKE.search(word) and _LATIN.search(word)]


def _latin(word: str, *, alone: bool) -> str:
    if not _LOOKALIKE.search(word):
        return word
    plain = [letter for letter in word if letter.isalpha()]
    only = all(letter in LATIN_OF for letter in plain)
    if not (_LATIN.search(word) or (alone and only and len(plain) > 1)):
        return word
    return "".join(LATIN_OF.get(letter, letter) for letter in word)


def _is_foreign(word: str) -> bool:
    """Whether a word has no Latin letter and one at least that looks like none."""
    return not _LATIN.search(word) and any(
        letter not in LATIN_OF and ord(letter) > 0x24F and letter.isalpha() for letter in word
    )
