"""The words around prices, brands and categories in wishes, English and German, as patterns.

Two languages stand side by side in each pattern, so a wish may mix them. No German word here is an English one that
stands in the same place.
"""

from __future__ import annotations

import re

from tastemaker.text.wishes.wish import CURRENCIES

FLAGS = re.IGNORECASE

_SIGN = "|".join(sorted((re.escape(word) for words in CURRENCIES.values() for word in words), key=len, reverse=True))
_AMOUNT = rf"(?:(?P<sign{{0}}>{_SIGN})\s?)?(?P<amount{{0}}>\d[\d.,]*\d|\d)(?:\s?(?P<unit{{0}}>{_SIGN})(?![^\W\d_]))?"
_ONE, _TWO = (_AMOUNT.replace("{0}", number) for number in ("1", "2"))
_UNITS = (
    r"(?!\s?(?:%|percent|ml|cl|l|liters?|litres?|mg|g|grams?|kg|kilos?|oz|ounces?|lbs?|cm|mm|m|meters?|metres?|km|inch(?:es)?|in\b|ft"
    r"|feet|watts?|w|volts?|v|mah|gb|tb|mb|hz|hours?|hrs?|h|min(?:utes?)?|days?|weeks?|months?|years?|yrs?|degrees?|°\s?[cf]?|x"
    r"|pieces?|pcs|packs?|count|people|persons?|spf|stars?"
    r"|prozent|gramm|zoll|stunden?|minuten?|tagen?|tage|wochen?|monaten?|monate|jahren?|jahre|grad|stück|stk|st"
    r"|personen|sternen?|sterne|lsf|teilig\w*|teilen?|fach|uhr|(?:zenti|milli)meter|milliliter|kilogramm|seiten|kalorien"
    r"|kcal|calories|pages|seats)(?![^\W\d_]))"
)
_END = rf"(?![\d]|[.,]\d){_UNITS}"
_UNDER = (
    r"under|below|less than|cheaper than|lower than|beneath|<(?!=)"
    r"|unterhalb(?: von)?|unter|weniger als|(?:billiger|günstiger|niedriger) als"
)
_UP_TO = (
    r"up to|at most|no more than|not more than|not over|not above|max(?:imum)?(?: of)?\.?|within|<=|≤|not exceeding"
    r"|(?:not|no) (?:dearer|pricier|higher|more expensive) than|budget(?: of| is)?:?"
    r"|(?<!\d\s)bis(?: zu| maximal| höchstens)?|höchstens|maximal|budget von"
    r"|nicht (?:mehr als|über|(?:teurer|höher) als)"
)
_OVER = (
    r"over|above|more than|(?:dearer|pricier|higher|more expensive) than|>(?!=)"
    r"|oberhalb(?: von)?|über|mehr als|(?:teurer|höher) als"
)
_FROM = (
    r"at least|no less than|not less than|not under|not below|min(?:imum)?(?: of)?\.?|starting (?:at|from)|from|>=|≥"
    r"|(?:not|no) (?:cheaper|lower) than|mindestens|nicht (?:weniger als|unter|(?:billiger|günstiger|niedriger) als)|ab"
)
_AROUND = r"around|about|roughly|approximately|circa|~|ungefähr|etwa|rund|ca\.?|um(?: die)?"
UNSURE = frozenset({"from", "ab", "um", "um die"})
"""Words that speak of an amount only where a currency stands with it."""
_BEFORE = r"(?<![^\W\d_])"
_PRICE = r"(?:(?:(?:the|der) )?(?:price[sd]?|preise?)(?: is| ist| range)?:? )?"
BETWEEN = re.compile(
    rf"{_BEFORE}{_PRICE}(?:(?P<word>between|from|zwischen|von)\s+)?{_ONE}\s*(?P<join>and|to|und|bis|-|–|—)\s*{_TWO}{_END}",
    FLAGS,
)
PAIRS = {"between": ("and",), "zwischen": ("und",)}
"""What has to stand between the amounts; after other words, and after none, it may not be one of these."""
BOUND = re.compile(
    rf"{_BEFORE}{_PRICE}(?:(?:for|für) )?(?:(?P<up_to>{_UP_TO})|(?P<from>{_FROM})|(?P<under>{_UNDER})"
    rf"|(?P<over>{_OVER})|(?P<around>{_AROUND}))\s*{_ONE}{_END}",
    FLAGS,
)

_ON_NO_ACCOUNT = r"auf (?:gar )?keinen fall"
NEGATION = re.compile(
    r"(?:\b(?:no|not|without|except(?: for)?|excluding|exclude|avoid|never|nothing|(?:any|every)thing but|other than"
    r"|(?:(?:i|we) )?(?:don['’]?t|do not) (?:want|like|need)|(?:(?:i|we) )?hate|but not|nor"
    rf"|under no circumstances|{_ON_NO_ACCOUNT}|niemals"
    r"|ohne|nichts?|kein(?:e[mnrs]?)?|außer|ausser|statt|weder|alles (?:außer|ausser)|(?:ich|wir) hassen?)"
    r"(?:\s+(?:any|a|an|the|more|for|from|by|of|in|made|brand|category|products?|things?|items?|anything"
    r"|von|vom|aus|der|die|das|den|dem|des|ein|eine[mnrs]?|marken?|kategorie|produkte?|artikel|für|im))*\s*)$",
    FLAGS,
)
NOT_ONLY = re.compile(r"\b(?:not|nicht) (?:only|just|nur)\s+(?:(?:from|by|von|the|die|der|das)\s+)*$", FLAGS)
"""What says of a name that others are welcome too."""
NEGATED_AFTER = re.compile(
    r"^\s*(?:(?:mag|will|möchte|brauche|mögen|wollen|möchten|brauchen) (?:ich|wir) (?:\w+ )?"
    rf"(?:nicht|nie|{_ON_NO_ACCOUNT})|(?:bitte|lieber) nicht|{_ON_NO_ACCOUNT}|(?:kommt|kommen) nicht in ?frage"
    r"|ist ausgeschlossen)\b|^\s*nicht\s*(?:$|[.,;!?])",
    FLAGS,
)
"""What rules a name out from behind, as German does."""
AND = re.compile(
    r"^\s*(?:,|or|and|nor|,\s*(?:or|and|nor)|/|&|oder|und|noch|sowie)\s*(?:(?P<maker>from |by |von |vom |aus )|any )?$",
    FLAGS,
)
BRAND_CUE = re.compile(
    r"\b(?:from|by|only|brand(?: is|:)?|made by|prefer(?:ably)?|must be|von|vom|nur|marke(?: ist|:)?|hersteller:?)"
    r"(?:\s+(?:the|brand|a|an|der|marke))*\s*$",
    FLAGS,
)
AFTER_BRAND = re.compile(r"^\s*(?:brand|only)\b", FLAGS)
CATEGORY_CUE = re.compile(
    r"\b(?:in|only|category(?: is|:)?|department|section|nur|kategorie(?: ist|:)?|abteilung|im bereich)"
    r"(?:\s+(?:the|category|der|die|kategorie|abteilung))*\s*$",
    FLAGS,
)
AFTER_CATEGORY = re.compile(r"^\s*(?:category|department|section|only)\b", FLAGS)
OPENING = re.compile(
    r"^\W*(?:(?:hi|hello|please|hallo|guten tag|bitte)\W+)?(?:(?:i|we|ich|wir)(?:['’]m| am|['’]re| are)? )?"
    r"(?:(?:want|need|looking for|look for|find me|find|show me|give me|would like|search(?:ing)? for"
    r"|suchen?|brauchen?|möchten?|wollen|will|hätten? gerne?|zeigt? mir|finde)\s+)?"
    r"(?:(?:a|an|some|the|new|good|nice|my|me|ein|eine[mnrs]?|neue[mnrs]?|gute[mnrs]?|schöne[mnrs]?|der|die|das|den)\s+)*$",
    FLAGS,
)
PHRASE_ENDS = re.compile(
    r"\W*$|\s*[,.;:!?()]|\s+(?:for|with|without|by|from|in|under|below|over|above|between|around|about|up|at|less|more"
    r"|not|no|but|and|or|that|which|to|of|as|like|made|suitable|cheaper|please|only|except|max(?:imum)?|min(?:imum)?"
    r"|für|mit|ohne|von|vom|aus|im|unter|bis|über|zwischen|um|etwa|ab|nicht|kein\w*|aber|und|oder|nur|außer|maximal"
    r"|höchstens|mindestens|bitte|wie|zum|zur|weniger|mehr|günstiger|billiger)\b",
    FLAGS,
)
"""What stands behind a noun that is not part of a longer one."""
UNKNOWN_NEGATION = re.compile(
    rf"\b(?:no|not|without|except|avoid|nicht|ohne|{_ON_NO_ACCOUNT}|kein(?:e[mnrs]?)?|außer|ausser)\s+"
    r"(?!(?:more|less|over|under|too|so|very|only|just|mehr|weniger|über|unter|zu|sehr|nur|gerade|teurer|billiger"
    r"|günstiger|fall)\b)"
    r"(?:(?:from|by|any|the|an?|von|vom|der|die|das|den|dem)\s+)*([^\W\d_][\w'’-]*)",
    FLAGS,
)
EDGES = re.compile(
    r"^(?:[\s,;.:!&/-]|\b(?:and|but|or|with|please|und|aber|oder|mit|bitte)\b)+"
    r"|(?:[\s,;:&/-]|\b(?:and|but|or|for|with|from|by|in|und|aber|oder|für|mit|von|aus)\b)+$",
    FLAGS,
)
