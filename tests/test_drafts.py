"""A folder is the old one or the new one, whatever fails in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tastemaker.drafts import draft


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "below" / "place"
    with draft(folder) as new:
        (new / "part").mkdir()
        (new / "part" / "file").write_text("first")
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def replace(folder):
    with draft(folder) as new:
        (new / "other").write_text("second")


def test_the_draft_takes_the_place_and_nothing_is_left(place):
    assert content(place) == {"part/file": "first"}
    replace(place)
    assert content(place) == {"other": "second"}
    assert [path.name for path in place.parent.iterdir()] == ["place"]


def test_others_may_read_what_the_umask_allows(place, tmp_path):
    (tmp_path / "plain").mkdir()
    assert place.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_in_the_block_changes_nothing(place, error):
    with pytest.raises(type(error)), draft(place) as new:
        (new / "other").write_text("half")
        raise error
    assert content(place) == {"part/file": "first"}
    assert [path.name for path in place.parent.iterdir()] == ["place"]


@pytest.fixture
def failing(monkeypatch):
    """Let the renames with these numbers fail."""
    real, done = Path.rename, []

    def fail_at(*numbers, error=PermissionError):
        def rename(path, target):
            done.append(path)
            if len(done) in numbers:
                raise error(f"rename {len(done)}")
            return real(path, target)

        monkeypatch.setattr(Path, "rename", rename)

    return fail_at


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
def test_the_old_folder_comes_back_where_a_rename_fails(place, failing, number, error):
    failing(number, error=error)
    with pytest.raises(error, match=f"rename {number}"):
        replace(place)
    assert content(place) == {"part/file": "first"}
    assert [path.name for path in place.parent.iterdir()] == ["place"]


def test_the_only_copy_is_never_removed(place, failing):
    """Both the draft and the way back fail: the old folder stays where it was set aside."""
    failing(2, 3)
    with pytest.raises(PermissionError):
        replace(place)
    assert not place.exists()
    (hidden,) = place.parent.iterdir()
    assert content(hidden / "old") == {"part/file": "first"}


def test_a_first_draft_that_cannot_be_renamed_leaves_nothing(tmp_path, failing):
    failing(1)
    with pytest.raises(PermissionError):
        replace(tmp_path / "place")
    assert list(tmp_path.iterdir()) == []


def remains(folder, *, old=False, days=2):
    """What a run that was killed some days ago left beside `folder`."""
    left = folder.parent / f".draft.{folder.name}.{days}{old}"
    (left / ("old" if old else "new")).mkdir(parents=True)
    os.utime(left, (left.stat().st_mtime - days * 86_400,) * 2)
    return left


def test_remains_of_killed_runs_go_after_a_day(place):
    gone, young = remains(place), remains(place, days=0)
    neighbour = remains(place.parent / "place2")
    replace(place)
    assert not gone.exists()
    assert young.exists() and neighbour.exists()


def test_the_only_copy_in_the_remains_is_kept(tmp_path):
    left = remains(tmp_path / "place", old=True)
    replace(tmp_path / "place")
    assert left.exists()
    replace(tmp_path / "place")
    assert not left.exists()
