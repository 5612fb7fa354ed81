"""Files made to do harm: bombs, entities, endless lines, links, and ids that look like paths."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.readers import FORMATS, detect, read, read_items, text, validate
from tastemaker.data.readers.feeds import xml
from tastemaker.data.writers.canonical import write
from tastemaker.errors import DataError

SAMPLES = Path(__file__).parent / "samples"
RSS = (SAMPLES / "merchant_rss.xml").read_text()
BILLION_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10))
SECRET = "the secret of this machine"
INTERACTIONS = "user_id,item_id\nu,i\n"


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def with_doctype(doctype, value="&x;"):
    return RSS.replace("<rss", f"<!DOCTYPE rss {doctype}>\n<rss", 1).replace("Enamel mug", value)


@pytest.mark.parametrize("kind", ["billion laughs", "quadratic", "file", "web", "parameter", "empty"])
def test_xml_that_defines_entities_is_refused_by_line(tmp_path, kind):
    secret = put(tmp_path / "secret.txt", SECRET)
    doctype = {
        "billion laughs": f"[{BILLION_LAUGHS}]",
        "quadratic": f'[<!ENTITY x "{"a" * 100_000}">]',
        "file": f'[<!ENTITY x SYSTEM "file://{secret}">]',
        "web": '[<!ENTITY x SYSTEM "http://192.0.2.1/x">]',
        "parameter": f'[<!ENTITY % p SYSTEM "file://{secret}"> %p;]',
        "empty": 'SYSTEM "http://192.0.2.1/rss.dtd"',
    }[kind]
    path = put(tmp_path / "feed.xml", with_doctype(doctype, "&l9;" if kind == "billion laughs" else "&x;"))
    assert detect(path) == "merchant"
    with pytest.raises(DataError, match=r"feed.xml:2: has a DOCTYPE") as caught:
        read_items(path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RSS[:-30], r"feed.xml:36:\d+: broken XML \(unclosed token\)"),
        (RSS.replace("</title>", "", 2), r"feed.xml:\d+:\d+: broken XML \(mismatched tag\)"),
        (RSS.replace("Enamel mug", "&nbsp;"), r"feed.xml:9:\d+: broken XML \(undefined entity\)"),
        (RSS.replace("Enamel", "\ud800").encode("utf-8", "surrogatepass"), r"broken XML \(not well-formed"),
        (RSS.replace("Enamel", "\0"), r"broken XML \(not well-formed"),
        ("<rss>" + "<a>" * 100, "nested more than 32 deep"),
        ("<rss><item>" + "".join(f"<a{n}>1</a{n}>" for n in range(300)), "more than 200 different attributes"),
        ("<rss><channel/></rss>", "no <item> or <entry>"),
        (RSS[:-40].rpartition("<")[0], r"feed.xml:36:\d+: broken XML \(no element found\)"),
        ('<?xml version="1.0" encoding="klingon"?>' + RSS.partition("?>")[2], "unknown encoding: klingon.*as UTF-8"),
        ('<?xml version="1.0" encoding="gb2312"?>' + RSS.partition("?>")[2], "multi-byte encodings.*as UTF-8"),
    ],
)
def test_xml_that_is_no_feed_is_refused_by_place(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_items(put(tmp_path / "feed.xml", content))


def test_a_feed_is_read_as_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "BLOCK", 1 << 16)
    filler = f"<!--{'x' * 1000}-->\n" * 20_000
    path = put(tmp_path / "feed.xml", RSS.replace("<item>", filler + "<item>", 1))
    tracemalloc.start()
    items, _ = read_items(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(items) == 2
    assert peak < path.stat().st_size / 4


def test_an_endless_attribute_is_cut_and_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(xml, "LONGEST", 200_000)
    path = put(tmp_path / "feed.xml", RSS.replace("Enamel mug", "x" * 1_000_000))
    assert [(p.column, p.rule) for p in validate(path).problems] == [("title", "text-too-long")]


@pytest.mark.parametrize("name", ["feed.xml.gz", "interactions.csv.gz", "events.jsonl.gz"])
def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, name):
    monkeypatch.setattr(text, "SMALL", 1 << 20)
    start = {"f": "<rss><item><title>", "i": "user_id,item_id\n", "e": '{"event_name":"purchase","items":[{"item_id":"'}
    content = start[name[0]].encode() + (b" " if name[0] == "f" else b"\n") * (64 << 20)
    path = put(tmp_path / name, gzip.compress(content, mtime=0))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"grows beyond [\d,]+ bytes \(200 times its size\).*gzip -dk"):
        (read_items if name[0] == "f" else read)(path, format={"f": "merchant", "i": "canonical", "e": "ga4"}[name[0]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20


def test_honest_gzip_is_read_whatever_its_name(tmp_path):
    assert len(read_items(put(tmp_path / "feed.xml", gzip.compress(RSS.encode())))[0]) == 2
    joined = gzip.compress(b"user_id,item_id\n") + gzip.compress(b"u,i\n")
    assert len(read(put(tmp_path / "log.csv", joined))[0]) == 1


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "feed.tsv"])
def test_a_first_line_without_end_is_refused_before_the_rest_is_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(text, "LONGEST_LINE", 1 << 20)
    path = put(tmp_path / name, b"")
    with path.open("r+b") as file:
        file.write(b'{"user_id": "' if name == "log.jsonl" else b"user_id,item_id,")
        file.write(b"x" * (1 << 20))
        file.truncate(4 << 30)  # sparse: takes no room
    with pytest.raises(DataError, match=r":1: the first line is longer than 1 MiB"):
        read(path, format="merchant" if name == "feed.tsv" else "canonical")


def test_a_zip_archive_is_not_unpacked(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../interactions.csv", INTERACTIONS)
    path = put(tmp_path / "shop.csv", packed.getvalue())
    for act in (detect, read, read_items):
        with pytest.raises(DataError, match="a zip archive or an Excel workbook"):
            act(path)


def test_ids_never_become_paths(tmp_path):
    ids = ["../../etc/passwd", "/abs", "..", ".", "C:\\x", "a\\..\\b", "%2e%2e%2f", "$(id)", "~root", "-rf"]
    data = Dataset.from_frames(pl.DataFrame({"user_id": ids, "item_id": ids[::-1]}))
    before = set(tmp_path.iterdir())
    for notation in ("parquet", "csv", "jsonl"):
        write(data, tmp_path / notation, format=notation)
        assert read(tmp_path / notation)[0].fingerprint == data.fingerprint
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"parquet", "csv", "jsonl"}


def test_a_folder_is_replaced_and_not_what_a_link_in_it_names(tmp_path):
    mine = put(tmp_path / "precious.csv", "precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "interactions.csv").symlink_to(mine)
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["u"], "item_id": ["i"]}))
    write(data, out, format="csv", overwrite=True)
    assert mine.read_text() == "precious"
    assert not (out / "interactions.csv").is_symlink()


@pytest.mark.parametrize("link", ["loop", "dangling"])
def test_links_that_lead_nowhere_are_refused(tmp_path, link):
    path = tmp_path / "log.csv"
    path.symlink_to(path if link == "loop" else tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"no such file|cannot be read"):
        read(path)


@pytest.mark.parametrize("name", ["merchant.tsv", "shopify_old.csv", "woocommerce.csv", "ga4.jsonl", "metarank.jsonl"])
@pytest.mark.parametrize("character", ["\0", "\u202e", "\x1b"])
def test_characters_that_deceive_are_named_with_their_row(tmp_path, name, character):
    word = {"merchant.tsv": "Kaffa", "shopify_old.csv": "Kaffa", "woocommerce.csv": "Nord", "ga4.jsonl": "MUG-1"}.get(
        name, "0042"
    )
    mark = character if name.endswith("sv") else f"\\u{ord(character):04x}"
    path = put(tmp_path / name, (SAMPLES / name).read_text().replace(word, word + mark))
    found = [(p.rule, p.line > 0) for p in validate(path).problems]
    rule = {"\0": "nul-byte", "\u202e": "bidi-character", "\x1b": "control-character"}[character]
    assert (rule, True) in found


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    name=st.sampled_from(sorted(path.name for path in SAMPLES.iterdir() if path.is_file())),
    cut=st.integers(0, 10**6),
    noise=st.binary(max_size=8)
    | st.sampled_from([b'"', b"\t", b",", b"<", b"&", b"[]", b"{}", b"null", b"\r", b"\xff\xfe"]),
    put_in=st.booleans(),
    forced=st.sampled_from(sorted(FORMATS)),
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, name, cut, noise, put_in, forced):
    content = (SAMPLES / name).read_bytes()
    place = cut % len(content)
    path = put(tmp_path / name, content[:place] + noise + content[place + (0 if put_in else len(noise)) :])
    for format in (None, forced):
        for act in (validate, read_items, read):
            try:
                act(path, format=format)
            except DataError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize("line", ["{{}}", "{'asin': {[]}}", "{'asin': 1} + {'asin': 2}"])
def test_a_python_literal_that_makes_no_value_is_a_bad_row(tmp_path, line):
    review = '{"reviewerID": "a", "asin": "b", "overall": 5.0, "unixReviewTime": 1400000000}\n'
    put(tmp_path / "reviews_Home_5.json", review)
    put(tmp_path / "meta_Home.json", f"{{'asin': 'b', 'title': 'Soap'}}\n{line}\n")
    [problem] = validate(tmp_path).problems
    assert (Path(problem.file).name, problem.line, problem.rule) == ("meta_Home.json", 2, "bad-json")
    [problem] = validate(put(tmp_path / "alone.jsonl", f"{line}\n")).problems
    assert (problem.line, problem.rule) == (1, "bad-json")
