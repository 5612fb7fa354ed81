"""The benchmark of models between shops: which rows are run again, and what is kept. No data are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "accuracy"


@pytest.fixture
def transfer(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    import transfer

    monkeypatch.setattr(transfer, "RESULTS", tmp_path / "results" / "transfer.json")
    return transfer


@pytest.fixture
def ran(transfer, monkeypatch, tmp_path):
    """Run the benchmark with fits replaced; returns a function that says which rows were measured."""

    def call():
        done = []

        def measure(name, share, *, data, runs):
            done.append((name, share))
            cell = {"recall@10": {"value": 0.1}, "ndcg@10": {"value": 0.1}}
            metrics = {variant.name: cell for variant in transfer.VARIANTS}
            asked = transfer.asked_of(name, share)
            return {"model": name, "share": share, "asked": asked, "metrics": metrics, "seconds": 1.0}

        monkeypatch.setattr(transfer, "measure", measure)
        monkeypatch.setattr("sys.argv", ["transfer.py", "--runs", str(tmp_path / "runs")])
        monkeypatch.setenv("TASTEMAKER_DATA", str(tmp_path))
        transfer.main()
        return done

    return call


def test_rows_with_the_same_settings_are_not_run_again(transfer, ran, monkeypatch, tmp_path):
    assert ran() == transfer.rows()
    assert ran() == []
    other = tmp_path / "other.toml"
    other.write_text(transfer.CONFIG.read_text() + "\n# the same settings\n")
    monkeypatch.setattr(transfer, "CONFIG", other)
    assert ran() == []
    other.write_text('[[stage]]\nmodel = "sasrec"\ninputs = "text"\n')
    configured = [row for row in transfer.rows() if row[0] not in transfer.FLOOR]
    assert ran() == configured
    monkeypatch.setattr(transfer, "SOURCES", transfer.SOURCES[:2])
    assert ran() == [row for row in configured if row[0] == "transferred"]
    found = transfer.load()
    assert sorted((row["model"], row["share"]) for row in found) == sorted(transfer.rows())
    assert not list(transfer.RESULTS.parent.glob("*.draft"))


def test_a_killed_run_keeps_the_rows_that_are_done(transfer, ran, monkeypatch):
    keep, kept = transfer.keep, []

    def killed(row):
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(row["model"])
        keep(row)

    monkeypatch.setattr(transfer, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        ran()
    monkeypatch.setattr(transfer, "keep", keep)
    assert ran() == transfer.rows()[3:]


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("tastemaker/new.py", True),
        ("benchmarks/accuracy/tables/new.toml", True),
        ("benchmarks/accuracy/results/new.json", False),
        ("benchmarks/accuracy/runs/new.log", False),
        ("docs/new.md", False),
    ],
)
def test_what_counts_as_changed_since_the_commit(transfer, monkeypatch, tmp_path, changed, counts):
    import run

    commit = ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"]
    for words in (["init", "-q"], commit):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.made_by()["changed_since"] is False
    (tmp_path / changed).parent.mkdir(parents=True)
    (tmp_path / changed).write_text("")
    assert run.made_by()["changed_since"] is counts
