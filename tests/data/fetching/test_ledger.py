from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tastemaker.data.fetching.ledger import LEDGER, Download, Entry, read_entry, write_entry
from tastemaker.errors import DataError

SUM = "0" * 64
FILE = Download(url="https://example.org/a.zip", bytes=3, sha256=SUM, compared_with="published sum")
COUNTS = {"users": 2, "items": 3, "interactions": 4}
ENTRY = Entry(files={"a.zip": FILE}, folder={"items.parquet": SUM}, counts=COUNTS, kept=True)


def test_entries_come_back_and_leave_others_alone(tmp_path):
    assert read_entry(tmp_path, "a") == Entry()
    write_entry(tmp_path, "a", ENTRY)
    write_entry(tmp_path, "b", Entry(files={"a.zip": FILE}, unfinished=True))
    assert read_entry(tmp_path, "a") == ENTRY
    assert read_entry(tmp_path, "b").unfinished and not read_entry(tmp_path, "b").kept
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fetched.lock", LEDGER]


WRITER = """
import sys
from pathlib import Path
from tastemaker.data.fetching.ledger import Entry, write_entry
sys.stdin.readline()
for number in range(40):
    write_entry(Path(sys.argv[1]), f"{sys.argv[2]}{number}", Entry())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind on Windows")
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stdin=subprocess.PIPE, text=True) for name in "abc"]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert len(json.loads((tmp_path / LEDGER).read_text())["sets"]) == 120


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        (("format",), 2),
        (("sets",), []),
        (("sets", "a"), None),
        (("sets", "a", "files"), []),
        (("sets", "a", "files", "a.zip"), "x"),
        (("sets", "a", "files", "a.zip", "sha256"), "x"),
        (("sets", "a", "files", "a.zip", "bytes"), "3"),
        (("sets", "a", "folder"), {}),
        (("sets", "a", "folder", "items.parquet"), None),
        (("sets", "a", "counts"), {"users": 1}),
        (("sets", "a", "counts", "users"), "2"),
        (("sets", "a", "kept"), "yes"),
        (("sets", "a", "mine"), 1),
    ],
)
def test_a_damaged_list_is_named_with_the_place(tmp_path, path, value):
    write_entry(tmp_path, "a", ENTRY)
    content = json.loads((tmp_path / LEDGER).read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if path:
        inner[path[-1]] = value
    (tmp_path / LEDGER).write_text(json.dumps(content if path else value))
    for ask in (lambda: read_entry(tmp_path, "b"), lambda: write_entry(tmp_path, "b", Entry())):
        with pytest.raises(DataError, match=r"fetched\.json: damaged, or of another version .*; remove it") as caught:
            ask()
        assert ".".join(path[:2]) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_no_list(tmp_path, content):
    (tmp_path / LEDGER).write_bytes(content)
    with pytest.raises(DataError, match=r"fetched\.json: damaged"):
        read_entry(tmp_path, "a")
