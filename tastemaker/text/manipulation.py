"""Product text that speaks to a model or sells itself: found, counted, and taken out before a model reads it.

No filter finds every attack (OWASP LLM Top 10:2026, LLM01): what is found here is what sellers write openly. What is
left is bounded elsewhere: answers are positions, and a candidate rises a stated number of places at most.

Sources of the patterns: OWASP's prompt-injection examples; claims that lift a product in lists of language models
without a fact behind them (social proof, scarcity, authority: arXiv 2502.01349); keyword stuffing as search engines
define it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from tastemaker.characters import HOSTILE_PATTERN, mark_ranges
from tastemaker.confusables import fold, mixed_words
from tastemaker.defences import defended
from tastemaker.pace import eased
from tastemaker.redaction import redact
from tastemaker.text.clean import RAW_LENGTH, clean, cut

if TYPE_CHECKING:
    from collections.abc import Iterable

READ = 4_000
"""Characters of a cleaned text that are looked at, or twice the wanted length, as what goes makes room for more."""
REPEATED, REPEATED_SHARE = 7, 0.15
"""A word of a product's text that stands in it oftener than so, and makes up so large a share of it, is repeated."""
KEPT = 2
"""Times that such a word is kept."""
ECHO = 4
"""Words in a row that no seller needs to write twice."""

_SEGMENT = re.compile(r"[^.!?;|•。！？\n]+(?:[.!?;|•。！？\n]+|$)")

# Patterns begin at a word's border, so that most places of a text cost one look. In other scripts than Latin they stand
# apart: most texts need not be read for them.
_IGNORE = re.compile(
    r"""\b(?:ignor|disregard|forget|overrid|override|do[ ]not[ ]follow|missachte|vergiss|oublie|olvid|dimentica
            |esqueça|desconsidere|negeer
         |vergeet|zignoruj|pomiń|игнорируй|забудь|yok[ ]say|unut)\w*\b
        .{0,60}?
        \b(?:instructions?|rules?|prompts?|guidelines?|orders|system[ ]prompt|above|previous|prior|anweisung\w*
            |regeln|vorgaben|consignes?|règles
         |instruccion\w*|reglas|istruzion\w*|regole|instruç\w*|regras|instructies|regels|instrukcj\w*|polece\w*
            |инструкци\w*|правил\w*|talimat\w*|kural\w*)""",
    re.IGNORECASE | re.VERBOSE,
)
# What a seller has no business to say: to rank, choose or answer.
_COMMAND = re.compile(
    r"""\b(?:(?:rank|place|put|list|recommend|choose|select|pick|prefer|promote|rate|score|return|output
            |print)\w*[ ]+(?:only[ ]+|always[ ]+)?
         (?:this|it|me|us|our)\b.{0,40}?\b(?:first|top|highest|best|number[ ]one|no\.?[ ]?1\b|above|before|instead
            |always|ahead)\b
     |(?:always|must|should|only|shall|have[ ]to|need[ ]to)[ ]+(?:be[ ])?(?:rank|recommend|choos|select|answer
            |respond|prefer)(?:e?d|e|ing)?\b
     |(?:answer|respond|reply|output)[ ]*(?:with|is|only|:|=)[ ]*["'(]?(?-i:[A-Z])["')]?(?=[ .,!]|$)
     |(?:(?:correct|right|best|final|expected)[ ]+(?:answer|choice|candidate|letter|option)[ ]*(?:is\b|:|=))
     |(?:all[ ]+)?other[ ]+(?:candidates?|options?)[ ]+(?:are|is|were|have|has)\b
     |(?:system|developer|admin\w*)[ ]*(?:prompt|message|note|override|instruction|notice)\w*[ ]*:
     |(?:note|message|attention|instructions?|hint|memo)[ ]+(?:to|for)[ ]+(?:the[ ]+|any[ ]+|all[ ]+)?(?:ai|a\.i\.
            |llms?|language[ ]models?|assistants?|chatbots?|gpt|ranking|recommend\w*|models?)\b
     |(?:as[ ]an?|you[ ]are(?:[ ]now)?(?:[ ]an?)?|dear|hey|hello)[ ]+(?:helpful[ ]+)?(?:ai|llm|language[ ]model
            |assistant|chatbot|gpt|recommender|recommendation|ranking)\b
     |(?:system|assistant|user|human)[ ]*:[ ]*(?=.{0,60}?\b(?:you|recommend|rank|ignore|must|always|choose|candidate
            |answer)\b)
     |candidates?[ ]*:[ ]*["']?(?-i:[A-Z])?\b|best[ ]first[ ]*:|the[ ]shopper(?:'s)?[ ]+(?:bought|wish|wants?|will
            |prefers?|buys?|loves?)\b
     |(?:empfiehl|empfehle|wähle|bewerte|setze|nenne|sortiere)\w*\b.{0,40}?\b(?:zuerst|erste[nrs]?|immer|oben|ganz
            |an[ ]die[ ]spitze)\b
     |(?:recommande|choisis|classe|place|mets|sélectionne)\w*\b.{0,40}?\b(?:premier|première|toujours|en[ ]tête
            |d'abord)\b
     |(?:recomienda|elige|clasifica|coloca|pon|selecciona)\w*\b.{0,40}?\b(?:primero?|siempre|arriba|lugar)\b
     |(?:raccomanda|consiglia|scegli|metti|classifica|seleziona)\w*\b.{0,40}?\b(?:prim[oa]|sempre|cima)\b
     |(?:recomende|escolha|classifique|coloque|selecione)\w*\b.{0,40}?\b(?:primeiro|sempre|topo)\b
     |(?:beveel|kies|plaats|zet)\b.{0,40}?\b(?:eerst\w*|altijd|bovenaan)\b
     |(?:poleć|wybierz|umieść|ustaw)\w*\b.{0,40}?\b(?:pierwsz\w*|zawsze|szczycie)\b
     |(?:öner|seç|sırala)\w*\b.{0,40}?\b(?:ilk|her[ ]zaman|önce)\b|(?:ilk|her[ ]zaman|önce)\b.{0,30}?\b(?:öner\w*
            |seç\w*|sırala\w*))""",
    re.IGNORECASE | re.VERBOSE,
)
_OTHER_SCRIPT = re.compile("[\u0400-\u04ff\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_COMMAND_IN_OTHER_SCRIPT = re.compile(
    r"""(?:忽略|无视|忽視|無視).{0,20}?(?:指示|指令|规则|提示|ルール|命令)|(?:指示|命令|ルール).{0,12}?(?:無視|忘れ)
     |(?:지시|명령|규칙).{0,12}?(?:무시|잊)|تجاهل.{0,40}?(?:التعليمات|القواعد)|(?:निर्देश|नियम).{0,30}?(?:अनदेखा|भूल)
     |\b(?:рекоменду|выбер|постав|выбирай)\w*\b.{0,40}?\b(?:перв\w*|всегда)\b
     |(?:推荐|推薦|选择|選擇|排在|選んで|選択|おすすめ|推奨).{0,16}?(?:第一|首位|最前|一番|最初|必ず|総是|总是|始终)
     |(?:第一|首位|一番|最初|必ず|总是|始终|总|请).{0,12}?(?:推荐|推薦|选择|選択|推奨|選ん)
     |(?:추천|선택|배치).{0,16}?(?:첫|항상|맨|1위)|(?:첫|항상|맨|1위).{0,16}?(?:추천|선택|배치)
     |(?:أوص|اختر|ضع|رشح).{0,40}?(?:أول|دائم|المرتبة)|(?:हमेशा|पहले|सबसे[ ]ऊपर).{0,30}?(?:सुझा|चुन|रख)""",
    re.IGNORECASE | re.VERBOSE,
)
COMMANDS = (_IGNORE, _COMMAND, _COMMAND_IN_OTHER_SCRIPT)
# A position as the prompt writes it, before the text itself: 'A. "', 'B) ', "Answer: C".
_SPOOF = re.compile(
    r"""^[\s"'(]*(?:[A-Z](?:[.)]|[ ]?:)[ ]+(?=["'])|(?:Answer|Best[ ]first
            |Candidates?)[ ]?:[ ]*(?:[A-Z]\b[.,]?[ ]*)*)"""
)

_COUNT = r"(?:over[ ]|more[ ]than[ ])?\d[\d.,]{0,11}[ ]?(?:k|m|million|thousand)?\+?[ ]*"
_CLAIM = re.compile(
    rf"""(?<!\w)(?:
     (?:(?:\#|(?:no|nr)\.?[ ]?|number[ ]|n°[ ]?)1(?!\d)|number[ -]one\b)[ -](?:best[ -]?sell\w+|sell\w+|rated|choice
            |recommended|top|product|favou?rite|in[ ]\w+)
     |(?:(?:amazon|world|international|all[ -]time|top)(?:['’]?s)?[ ])?best[ -]?sell(?:er|ers|ing)\b|top[ -](?:rated
            |sellers?|selling|choice)\b
     |(?:(?:the|world['’]s|our)[ ])?most[ ](?:popular|loved|trusted|purchased|recommended)\b
     |{_COUNT}(?:happy[ ]|satisfied[ ]|verified[ ]|glowing[ ]|positive[ ])?(?:5|five)[ -]stars?[ ](?:reviews?
            |ratings?)\b
     |{_COUNT}(?:happy[ ]|satisfied[ ]|verified[ ]|glowing[ ]|positive[ ]|customer[ ])?(?:reviews|ratings)\b
     |{_COUNT}(?:happy|satisfied|verified)[ ](?:customers|buyers|shoppers|people|users)\b
     |{_COUNT}(?:customers|buyers|shoppers|people|users)[ ](?:can(?:['’]t|not)[ ]be[ ]wrong|love|agree|bought|trust
            |recommend|can['’]t)\b
     |(?:rated[ ])?(?:[45](?:[.,]\d)?|five)[ ]?(?:/|out[ ]of|of)[ ]?(?:5|five)[ ]stars?\b
            |rated[ ][45](?:[.,]\d)?[ ]?(?:/|out[ ]of)[ ]?5\b
     |(?:5|five)[ -]stars?[ ](?:reviews?|ratings?|product|rated)\b
     |(?:amazon|editor|customer|expert|staff|shopper)['’]?s['’]?[ ](?:choice|favou?rite|pick)s?\b|award[ -]winning\b
            |as[ ]seen[ ]on[ ](?:tv|tiktok|instagram)\b
     |(?:doctor|dermatologist|expert|celebrity|dentist)s?[ -](?:recommended|approved|endorsed)\b
     |(?:limited[ ]time(?:[ ]offer)?|only[ ]\d+[ ]left(?:[ ]in[ ]stock)?|selling[ ](?:out[ ])?fast|last[ ]chance
            |hurry|buy[ ](?:it[ ])?now|order[ ]now|don['’]t[ ]miss(?:[ ]out)?)\b
     |(?:100[ ]?%[ ])?(?:satisfaction|money[ -]?back)[ ]guaranteed?(?:[ ]or[ ]your[ ]money[ ]back)?\b
     |everyone[ ](?:loves|buys|wants|has)\b|must[ -]haves?\b|going[ ]viral\b|viral[ ]on[ ]\w+
     |(?:meistverkauft\w*|testsieger|kundenliebling|meilleure?[ ]vente|le[ ]plus[ ]vendu|más[ ]vendido
            |il[ ]più[ ]venduto|mais[ ]vendido)\b)
     |(?:★[ ]?){{2,}}|(?:⭐[ ]?){{2,}}|销量第一|畅销|ランキング1位|売れ筋""",
    re.IGNORECASE | re.VERBOSE,
)
_GONE = "\x00"
_AROUND = re.compile(r"[ ,;:!•*|(\[–—-]*(?:\x00[ ,;:!•*|)\]–—-]*)+")
_WORD = re.compile(rf"[^\W\d_][\w{mark_ranges()}'’-]{{2,}}")
_HIDDEN = re.compile(HOSTILE_PATTERN)
_PICTURE = "\u00a9\u00ae\u203c-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_JOINED = re.compile(
    f"(?<=[{_PICTURE}#*0-9])\ufe0f|(?<=[{_PICTURE}])\u200d(?=[{_PICTURE}])"
    "|(?<=[\u0600-\u06ff\u0750-\u077f\u0900-\u0dff])[\u200c\u200d]"
)
"""Joiners and selectors that belong to an emoji, or to the spelling of Persian, Urdu and the scripts of India."""

KINDS = (
    "instruction",
    "claim",
    "repeated words",
    "look-alike letters",
    "hidden characters",
    "chat markup",
    "contact data",
)


def neutral(text: str, *, max_length: int | None = None) -> str:
    """Return a product's text cleaned, without commands, positions, praise and repetition. Idempotent.

    A sentence that speaks to a model goes from there on; of praise only its words go, of a repeated word all but the
    first two, and four words in a row are said once. A text that is nothing else becomes empty, as if the seller had
    written nothing.

    With the defences off (`tastemaker.defences`) the text comes back as it is.

    Args:
        text: as the seller wrote it.
        max_length: as in `clean`.
    """
    return _remembered(text, max_length) if defended() else text


@lru_cache(maxsize=1 << 16)
def _remembered(text: str, max_length: int | None) -> str:
    limit = READ if max_length is None else min(max_length, READ)
    before, plain = None, clean(text, max_length=min(READ, 2 * limit))
    while plain != before:
        before, plain = plain, _once(plain)
    while (shorter := _once(cut(plain, limit))) != plain:
        plain = shorter
    return plain


def neutral_all(texts: Iterable[str | None], *, max_length: int | None = None) -> list[str]:
    """Make every text neutral; None becomes the empty string. Repeated texts are read once."""
    done: dict[str | None, str] = {None: ""}
    result = []
    for text in eased(texts):
        if (found := done.get(text)) is None:
            found = done[text] = neutral(text or "", max_length=max_length)
        result.append(found)
    return result


def kinds_of(text: str) -> tuple[str, ...]:
    """Say what is suspicious about a raw text, names of `KINDS`; nothing for an ordinary one."""
    text = text[:RAW_LENGTH]
    plain = clean(text, max_length=READ)
    found = {
        "instruction": _speaks_to_a_model(plain),
        "claim": bool(_CLAIM.search(plain)),
        "repeated words": bool(_repeated(plain)),
        "look-alike letters": _disguised(text),
        "hidden characters": bool(_HIDDEN.search(_JOINED.sub("", text))),
        "chat markup": bool(
            re.search(
                r"<\|[^<>|]{1,40}\|>|\[/?INST\]|<</?SYS>>|#{2,} *(?:instruction|system|response)", text, re.IGNORECASE
            )
        ),
        "contact data": redact(plain) != plain,
    }
    return tuple(kind for kind in KINDS if found[kind])


def _disguised(text: str) -> bool:
    """Whether letters, not only signs, stand for others."""
    letters = "".join(letter if letter.isalpha() else " " for letter in text)
    return bool(mixed_words(text)) or fold(letters) != letters


def _once(text: str) -> str:
    """Take commands, positions, praise and repetition out once."""
    if _speaks_to_a_model(text):
        text = _SPOOF.sub("", text)
        text = " ".join(_before_commands(part).strip() for part in _SEGMENT.findall(text))
        for command in COMMANDS:  # what reaches over the end of a sentence
            text = command.sub(" ", text)
    if _CLAIM.search(text):
        text = _closed(_CLAIM.sub(_GONE, text))
    text = _without_echoes(" ".join(text.split()))
    many = _repeated(text)
    if many:
        text = _without_repeats(text, many)
    return " ".join(text.split())


def _speaks_to_a_model(text: str) -> bool:
    return bool(_is_command(text) or _SPOOF.search(text))


def _is_command(text: str) -> bool:
    if _IGNORE.search(text) or _COMMAND.search(text):
        return True
    return bool(_OTHER_SCRIPT.search(text) and _COMMAND_IN_OTHER_SCRIPT.search(text))


def _before_commands(sentence: str) -> str:
    """Return what a sentence says before it begins to speak to a model."""
    found = [match.start() for command in COMMANDS if (match := command.search(sentence))]
    return sentence[: min(found)].rstrip(" ,:-–—([\"'") if found else sentence


def _without_echoes(text: str) -> str:
    """Return a text without what it says word by word a second time."""
    words = text.split(" ")
    if len(words) < 2 * ECHO:
        return text
    plain = [word.lower().strip(" ,.;:!?\"'()[]|-–—") for word in words]
    seen: set[tuple[str, ...]] = set()
    kept: list[str] = []
    said: list[str] = []
    place = 0
    while place < len(words):
        window = tuple(plain[place : place + ECHO])
        if len(window) == ECHO and window in seen and any(len(word) > 3 for word in window):
            place += ECHO
            continue
        kept.append(words[place])
        said.append(plain[place])
        if len(said) >= ECHO:
            seen.add(tuple(said[-ECHO:]))
        place += 1
    return " ".join(kept)


def _repeated(text: str) -> frozenset[str]:
    """Return the words that stand too often in a text, in lower case; short texts and short words have none."""
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) <= REPEATED:
        return frozenset()
    return frozenset(
        word
        for word, count in Counter(words).items()
        if count > REPEATED and count > REPEATED_SHARE * len(words) and len(word) > 3
    )


def _without_repeats(text: str, many: frozenset[str]) -> str:
    seen: Counter[str] = Counter()

    def kept(found: re.Match[str]) -> str:
        word = found[0].lower()
        seen[word] += 1
        return _GONE if word in many and seen[word] > KEPT else found[0]

    return _closed(_WORD.sub(kept, text))


def _closed(text: str) -> str:
    """Close the gaps where something was taken out, with the punctuation that belonged to it."""
    return _AROUND.sub(" ", text).strip(" ,;:!•*|–—-")
