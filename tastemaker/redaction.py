"""Personal data taken out of texts before a language model reads them.

What identifies a person without doubt goes from every prompt, product text included: mail addresses, phone numbers that
are written as such, card numbers (Luhn), IBANs (ISO 13616), order and customer numbers with their label. From what
shoppers say themselves (`personal`) long numbers, street addresses and names with which people introduce themselves go
as well. Model numbers (WH-1000XM4), sizes, prices, years, EAN and ISBN codes stay.
"""

from __future__ import annotations

import re

MAIL, PHONE, CARD, ACCOUNT, ORDER = "[mail]", "[phone]", "[card]", "[account]", "[order]"
NAME, ADDRESS, NUMBER = "[name]", "[address]", "[number]"

# A text that has none of these needs no second look: a mail sign, or five digits near each other.
_WORTH_A_LOOK = re.compile(r"@|[\[(]at[\])]|(?:\d[ ./()-]{0,2}){5}", re.IGNORECASE)

# Every repetition is bounded, and words begin at a border: no text takes quadratic time.
_MAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@| ?[\[(](?:at|@)[\])] ?)"
    r"(?:[\w-]{1,63}(?:\.| ?[\[(]dot[\])] ?)){1,4}[A-Za-z]{2,24}\b",
    re.IGNORECASE,
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){13,18}(?![\w-])")
_ORDER = re.compile(
    r"""\b(?P<label>(?:order|invoice|customer|client|account|tracking|receipt|membership|loyalty)[ ]?(?:no\.?|number
            |nr\.?|id|\#)
        |(?:bestell|rechnungs|kunden|auftrags)-?(?:nummer|nr\.?)
        |(?:num[ée]ro|n°|no\.?)[ ]de[ ](?:commande|client|facture)
        |(?:n[úu]mero|n[ºo°]\.?)[ ]d[eo][ ](?:pedido|cliente|factura)
        |numero[ ](?:d'|di[ ])(?:ordine|cliente)|bestelnummer|klantnummer)
        (?P<between>[ ]?[:\#]?[ ]?)(?=[A-Z0-9-]*\d{3})[A-Z0-9](?:[A-Z0-9-]{3,30}[A-Z0-9])""",
    re.IGNORECASE | re.VERBOSE,
)
_AMAZON_ORDER = re.compile(r"(?<![\w-])\d{3}-\d{7}-\d{7}(?![\w-])")
_PHONE = re.compile(
    r"""(?<![\w.,+/-])(?:
        (?:\+|00)[1-9]\d{0,2}[ ./-]?(?:\(0\)[ ]?)?(?:\(?\d{1,4}\)?[ ./-]?){1,4}\d{2,4}   # +49 (0)30 1234567
        |0[1-9]\d{1,4}[ ]?[/-][ ]?\d{3,4}(?:[ -]?\d{2,4}){1,2}                            # 0171/1234567
        |\(0[1-9]\d{1,4}\)[ ]?\d{3,4}(?:[ -]?\d{2,4}){0,2}                                # (030) 1234567
        |(?:1[ .-])?\([2-9]\d{2}\)[ ]?\d{3}[ .-]\d{4}                                     # (555) 123-4567
        |(?:1[ .-])?[2-9]\d{2}(?P<mark>[.-])\d{3}(?P=mark)\d{4}                           # 555-123-4567
        )(?![\w-])""",
    re.VERBOSE,
)
_CALLED = re.compile(
    r"""\b(?P<label>tel(?:e(?:ph|f)on?[eo]?)?|phone|mobile|cell|handy|fax|call|whats[ ]?app|t[ée]l[ée]phone
            |anruf(?:en)?|ring|hotline)
        (?P<between>\.?[ ]?(?:(?:number|no\.?|nr\.?|us|me|at|now|on|unter|au)[ ]?){0,2}[:.]?[ ]?)
        \+?\(?\d(?:[ ./()-]{0,2}\d){6,14}(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)

_LONG = re.compile(r"(?<![\w.,-])\+?\(?\d(?:[ ./()-]{0,2}\d){6,24}(?![\w-])")
_TITLE = r"(?:(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau|Madame|Monsieur|Señora?)\.?[ ])?"
_REST = r"(?:[ ](?:(?:van|von|der|den|de|del|du|da|di|dos|la|le|zu|bin|al|el)[ ]){0,2}[A-ZÀ-ÞЀ-Я][\w'’-]{1,30}){0,2}"
_NAMED = re.compile(
    rf"""(?P<label>(?i:\b(?:my[ ]name[ ]is|my[ ]name's|i[ ]am[ ]called|call[ ]me
        |(?:best|kind|warm)?[ ]?regards,?|sincerely,?|yours,?|signed,?
        |ich[ ]hei(?:ß|ss)e|mein[ ]name[ ]ist|(?:freundlichen|viele|liebe)[ ]gr(?:ü|ue)(?:ß|ss)en?,?
        |je[ ]m['’]appelle|mon[ ]nom[ ]est|me[ ]llamo|mi[ ]nombre[ ]es|mi[ ]chiamo|il[ ]mio[ ]nome[ ][eè]
        |meu[ ]nome[ ][eé]|ik[ ]heet|mijn[ ]naam[ ]is|nazywam[ ]si[eę]|меня[ ]зовут)))
        [ ]+(?P<name>{_TITLE}[^\W\d_][\w'’-]{{0,30}}{_REST})""",
    re.VERBOSE,
)
_I_AM = re.compile(
    rf"\b(?P<label>I am|I'm|I’m|This is|Ich bin|Je suis|Soy|Sono|Sou)[ ]+"
    rf"(?P<name>{_TITLE}[A-ZÀ-Þ][a-zà-ÿ'’-]{{1,30}}{_REST})"
)
_STREET = re.compile(
    r"""(?:
        \b\d{1,5}[a-z]?[ ](?:[A-Z][\w'’-]{1,30}[ ]){1,3}(?:Street|St\.?|Avenue|Ave\.?|Road|Rd\.?|Lane|Ln\.?|Drive
            |Dr\.?|Boulevard|Blvd\.?|Court|Way|Close|Square)\b
        |\b[A-ZÄÖÜ][\wäöüß-]{1,30}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer)[ ]\d{1,4}[ ]?[a-z]?\b
        |\b[A-ZÄÖÜ][\wäöüß-]{1,30}[ ](?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse)[ ]\d{1,4}[ ]?[a-z]?\b
        |\b\d{1,4}(?:[ ]?(?:bis|ter))?,?[ ](?:rue|avenue|boulevard|place|chemin|impasse
            |quai)[ ](?:[\w'’-]{1,30}[ ]?){1,5}
        |\b(?:calle|avenida|plaza|via|viale|piazza|rua)[ ](?:[\w'’-]{1,30}[ ]){1,4}\d{1,4}\b
        |\b[\w-]{2,30}(?:straat|laan|weg|plein|gracht|kade)[ ]\d{1,4}[ ]?[a-z]?\b
        )(?:,?[ ]\d{4,5}(?:[ ][A-ZÄÖÜ][\w'’-]{1,30}){0,2})?""",
    re.VERBOSE,
)


def redact(text: str, *, personal: bool = False) -> str:
    """Return `text` with a word in brackets for each piece of personal data. Idempotent.

    Args:
        text: any string.
        personal: whether a shopper said it: then long numbers, street addresses and names of introduction go too.
    """
    while (found := _redacted_once(text, personal=personal)) != text:
        text = found  # what stood between two numbers may be gone now
    return text


def _redacted_once(text: str, *, personal: bool) -> str:
    if personal:
        text = _NAMED.sub(rf"\g<label> {NAME}", text)
        text = _I_AM.sub(_unless_a_people, text)
        text = _STREET.sub(ADDRESS, text)
    if not _WORTH_A_LOOK.search(text):
        return text
    text = _MAIL.sub(MAIL, text)
    text = _IBAN.sub(lambda found: ACCOUNT if is_iban(found[0]) else found[0], text)
    text = _CARD.sub(lambda found: CARD if is_card(found[0]) else found[0], text)
    text = _ORDER.sub(rf"\g<label>\g<between>{ORDER}", text)
    text = _AMAZON_ORDER.sub(ORDER, text)
    text = _CALLED.sub(rf"\g<label>\g<between>{PHONE}", text)
    text = _PHONE.sub(_phone_or_code, text)
    return _LONG.sub(_number_or_sizes, text) if personal else text


def is_card(text: str) -> bool:
    """Say whether a text is a payment card's number: an issuer's prefix and length, and a right check digit (Luhn).

    13 digits are an EAN code, of which one in ten would pass Luhn's test, and no card of today.
    """
    digits = [int(letter) for letter in text if letter.isdigit()]
    number = "".join(map(str, digits))
    issued = re.fullmatch(
        r"4\d{15}|4\d{18}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01]|720)\d{12,13}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
        r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35\d{14}|62\d{14,17}",
        number,
    )
    if issued is None:
        return False
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Say whether a text is an international bank account number: 15 to 34 characters that leave 1 modulo 97."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


def _phone_or_code(found: re.Match[str]) -> str:
    """Keep what has too few or too many digits for a phone (ITU-T E.164: at most 15), such as the code 00501309."""
    least = 11 if found[0].startswith("00") else 8
    return PHONE if least <= sum(letter.isdigit() for letter in found[0]) <= 17 else found[0]


def _number_or_sizes(found: re.Match[str]) -> str:
    """Keep years, dates and lists of sizes: "2023-2024", "36-38-40"."""
    groups = re.findall(r"\d+", found[0])
    small = all(len(group) <= 2 or re.fullmatch(r"(?:19|20)\d\d", group) for group in groups)
    return found[0] if small and found[0][0] not in "0+(" else NUMBER


_PEOPLES = frozenset(
    """
    African American Asian European Latin Hispanic Black White Arab Jewish Christian Muslim Islamic Buddhist Hindu
    Catholic English British German French Spanish Italian Portuguese Dutch Polish Russian Turkish Chinese Japanese
    Korean Indian Brazilian Mexican Canadian Australian Irish Scottish Looking Interested Searching Female Male Vegan
    Not Very Just Really Currently Going Trying Planning
    """.split()  # noqa: SIM905  # a list of words reads best as words
)


def _unless_a_people(found: re.Match[str]) -> str:
    """Keep "I am German" and "I'm Looking for": only what may be a name goes."""
    first = found["name"].split()[0]
    return found[0] if first in _PEOPLES else f"{found['label']} {NAME}"
