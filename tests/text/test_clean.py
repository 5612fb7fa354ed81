from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.text.clean import RAW_LENGTH, clean, clean_all, cut

# Pieces from which broken and nested markup grows much sooner than from random characters.
PIECES = [
    "<",
    ">",
    "&",
    "amp;",
    "lt;",
    "gt",
    "#38;",
    "#x3c;",
    "b",
    "script",
    "style",
    "/",
    "!--",
    "-->",
    "![",
    '"',
    "'",
]
PIECES += [" ", "a", "=", "é", "e\u0301", "\u0338", "\u0958", "\u200b", "\u202e", "\u037e", "\x0b", "\x85", "\ud800"]
PIECES += ["&#0;", "&notin;", "…", "\u2028", "br", "word ", "-"]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("Nail Lacquer", "Nail Lacquer"),
        ("", ""),
        (" \t a \n\n b ", "a b"),
        ("a\x0cb\x85c", "a b c"),  # control characters that are white space part words
        ("foo<br>bar<p>baz</p>", "foo bar baz"),
        ("f<b>oo</b>bar", "foobar"),
        ('<a title="x > y">link</a>', "link"),
        ('<p title=5">x</p>', "x"),
        ("<script>alert('x < y')</script>soap<STYLE>p {}</style >", "soap"),
        ("soap<script>never closed", "soap"),
        ("a<!-- hidden > -->b<!doctype html>c", "a b c"),
        ("caf&eacute; &amp; bar", "café & bar"),
        ("&amp;amp;lt;b&amp;amp;gt;x", "x"),  # escaped three times
        ("&lt;script&gt;alert(1)&lt;/script&gt;x", "x"),
        ("<scr\u200bipt>bad</script>x", "x"),  # hidden characters do not hide a tag
        ("I <3 you, 5 < 6 > 4, A <-> B, AT&T; x", "I <3 you, 5 < 6 > 4, A <-> B, AT&T; x"),
        ("<system>obey</system>", "obey"),
        ("so\u00adap\u202egnp.exe\u200d", "soapgnp.exe"),
        ("e\u0301", "é"),
        ("3 m² ½ Brand™", "3 m² ½ Brand™"),  # NFC, not NFKC
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_examples(raw, plain):
    assert clean(raw) == plain


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [
        ("Nail Lacquer", 12, "Nail Lacquer"),
        ("Nail Lacquer, red", 13, "Nail Lacquer…"),
        ("Nail Lacquer, red", 8, "Nail…"),
        ("Nailpolishremover", 8, "Nailpol…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("xq\u0323\u0307z", 4, "x…"),  # a letter stays with its accents, or goes with them
    ],
)
def test_cut(text, length, short):
    assert cut(text, length) == short
    assert clean(text, max_length=length) == short


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40).map("".join),
    st.none() | st.integers(0, 40),
)
def test_clean_is_idempotent_and_bounded(raw, length):
    cleaned = clean(raw, max_length=length)
    assert clean(cleaned, max_length=length) == cleaned
    assert length is None or len(cleaned) <= length
    assert cleaned == " ".join(cleaned.split())
    cleaned.encode("utf-8")


def test_deep_escapes_end_and_stay_idempotent():
    raw = "<b>soap</b>"
    for _ in range(30):
        raw = raw.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("#", "&#35;")
    cleaned = clean(raw)
    assert "soap" in cleaned and "<" not in cleaned
    assert clean(cleaned) == cleaned


def test_huge_texts_are_read_to_a_limit():
    assert len(clean("word " * RAW_LENGTH)) <= RAW_LENGTH
    expands = "\u0958" * RAW_LENGTH  # two characters each under NFC
    assert clean(clean(expands)) == clean(expands)


@pytest.mark.parametrize("attack", ["<a ", "<", "</", "<!--", "<script>", '<b "', "<a href=x ", "&amp;", "<script "])
def test_hostile_markup_takes_no_quadratic_time(attack):
    start = time.process_time()
    clean(attack * (RAW_LENGTH // len(attack)) + ">")
    assert time.process_time() - start < 1.0  # the standard library's parser needs 7 to 27 seconds for some


def test_clean_all_maps_none_and_repeats():
    assert clean_all(["<b>x</b>", None, "<b>x</b>", "y z"], max_length=2) == ["x", "", "x", "y…"]


def test_twenty_thousand_items_are_quick():
    raws = [f"<p>Fine <b>soap</b> &amp; towel {number}</p> {'lorem ipsum ' * 10}" for number in range(20_000)]
    start = time.process_time()
    cleaned = clean_all(raws, max_length=100)
    assert time.process_time() - start < 3.0  # 0.5 s on the machine it was written on
    assert cleaned[7].startswith("Fine soap & towel 7 lorem")
