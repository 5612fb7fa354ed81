from __future__ import annotations

import gzip
import stat
import zlib
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from tastemaker.data.fetching import unpack
from tastemaker.data.fetching.unpack import MOST_MEMBERS, check_gzip, check_zip, unpack_zip
from tastemaker.errors import DataError

LIMIT = 1 << 30


def make_zip(path, members):
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_file_is_unpacked_as_it_is(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"set/": b"", "set/u.data": b"1\t2", "set/deep/x": b"y" * 3_000_000})
    (tmp_path / "out").mkdir()
    check_zip(path, LIMIT)
    unpack_zip(path, tmp_path / "out", LIMIT)
    found = {
        file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*.*")
    }
    assert found == {"set/u.data": b"1\t2"}
    assert (tmp_path / "out/set/deep/x").stat().st_size == 3_000_000


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/x", "a\\..\\x", "C:x", "a\nb"])
def test_members_that_leave_the_folder_are_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {"good": b"1", name: b"2"})
    (tmp_path / "out").mkdir()
    for ask in (lambda: check_zip(path, LIMIT), lambda: unpack_zip(path, tmp_path / "out", LIMIT)):
        with pytest.raises(DataError, match="outside its folder; refused"):
            ask()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "./."])
def test_members_without_a_name_are_refused(tmp_path, name):
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr(ZipInfo("good"), b"1")
        archive.writestr(ZipInfo(name), b"")
    (tmp_path / "out").mkdir()
    for ask in (lambda: check_zip(path, LIMIT), lambda: unpack_zip(path, tmp_path / "out", LIMIT)):
        with pytest.raises(DataError, match="a file without a name; refused"):
            ask()


@pytest.mark.parametrize("names", [("a", "a/b"), ("set/A/b/c", "set/a/B"), ("a/b/", "a")])
def test_a_file_that_is_also_a_folder_is_refused(tmp_path, names):
    path = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b""))
    with pytest.raises(DataError, match="which is a file; refused"):
        check_zip(path, LIMIT)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    member = ZipInfo("link")
    member.external_attr = (kind | 0o777) << 16
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="a link or device"):
        check_zip(tmp_path / "a.zip", LIMIT)


def test_encrypted_repeated_and_too_many_members_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        check_zip(path, LIMIT)
    with pytest.raises(DataError, match="twice"):
        check_zip(make_zip(tmp_path / "b.zip", {"a/X": b"1", "a/x": b"2"}), LIMIT)
    many = make_zip(tmp_path / "c.zip", {str(number): b"" for number in range(MOST_MEMBERS + 1)})
    with pytest.raises(DataError, match="10,001 members"):
        check_zip(many, LIMIT)


def test_bombs_are_refused_by_growth_by_size_and_by_lies(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(2_000_000)})
    with pytest.raises(DataError, match="would grow to 2,000,000 bytes, more than the 1,000"):
        check_zip(path, 1000)
    monkeypatch.setattr(unpack, "SMALL", 1000)
    with pytest.raises(DataError, match="'zeros', which would grow"):
        check_zip(path, LIMIT)
    monkeypatch.setattr(unpack, "SMALL", 64 << 20)
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (500).to_bytes(4, "little")  # the table says 500 bytes
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"zeros"):
        unpack_zip(path, tmp_path / "out", LIMIT)
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= 500


def test_broken_zip_files(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(DataError, match="not a zip file"):
        check_zip(tmp_path / "a.zip", LIMIT)
    path = make_zip(tmp_path / "b.zip", {"a": b"hello " * 1000})
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="a: broken in the zip file"):
        unpack_zip(path, tmp_path / "out", LIMIT)


def test_gzip_files_are_read_to_the_end(tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"line\n" * 100_000))
    check_gzip(path, LIMIT)
    with pytest.raises(DataError, match="grows beyond 1,000 bytes"):
        check_gzip(path, 1000)
    monkeypatch.setattr(unpack, "SMALL", 1000)
    with pytest.raises(DataError, match="grows beyond"):
        check_gzip(path, LIMIT)  # 500,000 bytes from about 600
    monkeypatch.setattr(unpack, "SMALL", 64 << 20)
    whole = path.read_bytes()
    for broken in (
        whole[:-9],
        whole[:20] + b"\xff" * 20 + whole[40:],
        b"<html>",
        zlib.compress(b"x"),
        gzip.compress(b""),
    ):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"gzip file"):
            check_gzip(path, LIMIT)
