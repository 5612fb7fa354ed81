"""Personal data go, product numbers stay."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.lm.base import Prompt
from tastemaker.redaction import is_card, is_iban, redact
from tastemaker.text.prompting import prompts

# What shops write and no person is behind.
PRODUCT = [
    "Sony WH-1000XM4 headphones",
    "EAN 4006381333931",
    "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2",
    "UPC 012345678905",
    "12 x 330 ml, 120 x 60 x 75 cm, 5-in-1, 100-240V 50/60Hz",
    "Nikon D5600 18-55mm 70-300mm; Canon LP-E6NH 7.2V 2130mAh",
    "2023-2024 planner, 01/02/2023 - 03/04/2024",
    "1299.00 EUR, 1,000,000 reviews, pack of 100 200 300",
    "keyword: 1, 3\nA. B. 10, 11, 12, 13, 14, 15, 16",
    "order in packs of 12345 pieces; call of duty 4; phone case for iPhone 12/13/14 2021 2022",
    "Trader Joe's Coconut Body Butter 8 Oz. (00501309)",
    "B00005AAAA 555-1234 2-4-6 8-10-12 10.5 x 12.5 x 3.25",
]

PERSONAL = [
    ("write to anna.schmidt+x@mail.example.co.uk!", "write to [mail]!"),
    ("a.b [at] example [dot] com", "[mail]"),
    ("anna(at)mail.de", "[mail]"),
    ("+49 30 1234567, 0049 171 1234567", "[phone], [phone]"),
    ("+49 (0)30 123 45 67", "[phone]"),
    ("0171/1234567 or 0171-1234567", "[phone] or [phone]"),
    ("(555) 123-4567 and 555-123-4567 and +1 555 123 4567", "[phone] and [phone] and [phone]"),
    ("Tel. 030 1234567", "Tel. [phone]"),
    ("call us at 01711234567", "call us at [phone]"),
    ("whatsapp 612 34 56 78", "whatsapp [phone]"),
    ("4111 1111 1111 1111 / 5500-0000-0000-0004 / 378282246310005", "[card] / [card] / [card]"),
    ("DE89 3704 0044 0532 0130 00; GB82WEST12345698765432", "[account]; [account]"),
    ("order number 123-456789, Bestellnummer: A123456", "order number [order], Bestellnummer: [order]"),
    ("114-1234567-1234567", "[order]"),
    ("numéro de commande 1234567", "numéro de commande [order]"),
]

SAID = [
    ("My name is Anna Schmidt and I want shampoo", "My name is [name] and I want shampoo"),
    ("I'm Dr. Anna van der Berg, for dry hair", "I'm [name], for dry hair"),
    ("Ich heiße Jörg Müller", "Ich heiße [name]"),
    ("me llamo Zoé", "me llamo [name]"),
    ("меня зовут Анна", "меня зовут [name]"),
    ("for dry hair. Regards Anna", "for dry hair. Regards Anna"),  # a label begins in lower case or is not told
    ("for dry hair, regards Anna", "for dry hair, regards [name]"),
    ("send it to 12 Baker Street, London", "send it to [address], London"),
    ("Hauptstraße 12, 10115 Berlin", "[address]"),
    ("12 rue de la Paix", "[address]"),
    ("my number is 0171 1234567", "my number is [number]"),
    ("06 12 34 56 78", "[number]"),
]
KEPT = ["under 20, for dry hair, 500 ml", "I am female", "I am German", "I'm Looking for a gift", "sizes 36-38-40-42"]


@pytest.mark.parametrize("text", PRODUCT)
def test_product_numbers_stay(text):
    assert redact(text) == text


@pytest.mark.parametrize(("text", "redacted"), PERSONAL)
def test_personal_data_go(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(("text", "redacted"), [*SAID[:5], *SAID[6:]])
def test_what_shoppers_say_of_themselves_goes_too(text, redacted):
    assert redact(text, personal=True) == redacted
    assert redact("plain " + text).startswith("plain ")


@pytest.mark.parametrize("text", KEPT)
def test_wishes_stay(text):
    assert redact(text, personal=True) == text


@given(
    st.lists(st.sampled_from([*PRODUCT, *(text for text, _ in [*PERSONAL, *SAID])]) | st.text(max_size=20), max_size=4)
)
def test_twice_is_once(parts):
    text = " ".join(parts)
    for personal in (False, True):
        once = redact(text, personal=personal)
        assert redact(once, personal=personal) == once


def luhn(body: str) -> str:
    """The check digit, by the schoolbook: double every second digit from the right, add the digits."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        total += sum(map(int, str(int(digit) * 2))) if place % 2 == 0 else int(digit)
    return str(-total % 10)


@given(st.text(string.digits, min_size=14, max_size=14), st.integers(1, 9))
def test_cards_are_told_by_their_check_digit(digits, off):
    body = "4" + digits
    right = body + luhn(body)
    wrong = body + str((int(luhn(body)) + off) % 10)
    assert is_card(right) and redact(f"pay with {right}") == "pay with [card]"
    assert not is_card(wrong)


@given(st.text(string.digits, min_size=18, max_size=18), st.integers(1, 96))
def test_accounts_are_told_by_their_check_digits(digits, off):
    check = 98 - int(f"{digits}131400") % 97  # ISO 13616: D = 13, E = 14
    assert is_iban(f"DE{check:02}{digits}")
    assert not is_iban(f"DE{(check + off - 2) % 97 + 2:02}{digits}") or (check + off - 2) % 97 + 2 == check


@pytest.mark.parametrize(
    "part", ["1 ", "a@", "a.", "+1", "my name is ", "A", "12 Ab ", "calle ", "order no ", "DE89 ", "("]
)
def test_no_text_takes_long(part):
    start = time.process_time()
    redact(part * (50_000 // len(part)), personal=True)
    assert time.process_time() - start < 5.0  # 0.3 s where it was written; quadratic time takes minutes


def test_no_prompt_carries_personal_data():
    said = "My name is Anna Schmidt, anna@example.com, +49 30 1234567, card 4111 1111 1111 1111"
    prompt = prompts.choose(["Soap, call 555-123-4567"], ["Hand cream by a@b.com", "Towel"], profile=said, wish=said)
    for secret in ("Anna", "Schmidt", "@", "1234567", "4111", "4567"):
        assert secret not in prompt.user
    assert "Soap, call [phone]" in prompt.user
    assert Prompt("mail a@b.com", "system +49 30 1234567", "4111 1111 1111 1111").answer == "[card]"
