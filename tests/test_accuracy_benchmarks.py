"""The benchmark of models between shops: which rows are run again, and what is kept. No data are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tastemaker.data.readers import complete_journey
from tastemaker.models.content.two_tower import TwoTower

METRICS = {name: {"value": 0.1, "low": 0.0, "high": 0.2} for name in ("recall@10", "ndcg@10")}
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


def test_a_default_that_changes_makes_other_rows(transfer, ran, monkeypatch):
    ran()

    class Changed(TwoTower.Config):
        transfer_strength: float = 0.9

    monkeypatch.setattr(TwoTower, "Config", Changed)
    assert ran() == [row for row in transfer.rows() if row[0] not in transfer.FLOOR]


def test_data_known_by_word_are_not_looked_for_in_a_folder_without_them(transfer, tmp_path):
    import run

    for name in ("complete-journey", "shop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("where it comes from")
    assert run.place(tmp_path, "complete-journey") == "complete-journey"
    assert run.place(tmp_path, "shop") == str(tmp_path / "shop")
    assert run.place(tmp_path, "elsewhere") == "elsewhere"
    for file in complete_journey.FILES:
        (tmp_path / "complete-journey" / f"{file}.parquet").write_bytes(b"")
    assert run.place(tmp_path, "complete-journey") == str(tmp_path / "complete-journey")


def test_the_survey_says_which_seeds_its_figures_are_of(transfer, monkeypatch):
    import accuracy_results as results

    monkeypatch.setattr(results, "_cited", lambda one: {"seeds": 1, "test_queries": 5, "metrics": METRICS})
    assert results.seeds_in_words() == "seed 0"
    assert "seeds |" not in results.survey()
    monkeypatch.setattr(results, "_cited", lambda one: {"seeds": 3, "test_queries": 5, "metrics": METRICS})
    assert "mean over seeds" in results.seeds_in_words()
    assert "5 shoppers, 3 seeds |" in results.survey()


@pytest.mark.parametrize(("weight", "said"), [(0.0, True), (0.4, False)])
def test_the_survey_says_what_a_re_ranker_that_was_switched_off_was_worth(transfer, monkeypatch, weight, said):
    import accuracy_results as results

    tried = [{"weight": one, "ndcg@10": 0.05 - 0.02 * one, "standard_error": 0.01 * one} for one in (0.0, 0.4, 1.0)]
    row = {"seeds": 1, "test_queries": 5, "metrics": METRICS}
    row["reports"] = [{}, {"weight": weight, "chosen_on_validation": tried}]
    monkeypatch.setattr(results, "_cited", lambda one: row)
    told = "switched off: at full weight 0.0300 NDCG@10 on validation shoppers, its retriever 0.0500 (standard error"
    told += " of the difference 0.0100)"
    assert (told in results.survey()) == said


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


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"tastemaker": "0.3.0", "changed_since": False}, "0.3.0"),
        ({"tastemaker": "0.4.0", "changed_since": True, "device": "cpu"}, "0.4.0 + changes"),
        ({"tastemaker": "0.4.0", "changed_since": False, "device": "cuda: NVIDIA H200"}, "0.4.0, NVIDIA H200"),
    ],
)
def test_a_row_says_what_made_it(transfer, facts, said):
    import accuracy_results as results

    row = {"data": "d", "model": "m", "floor": False, "masked": True, "seeds": 1, "verdict": "no floor was run"}
    metrics = {name: {**one, "spread": None} for name, one in METRICS.items()}
    row |= {"metrics": metrics, "fit_seconds": 1.0, "peak_mib": 10}
    assert results.markdown({"rows": [{**row, **facts}], "pairs": []}, ["m"]).endswith(f"| 1 | 10 | {said} |")


def test_no_difference_has_no_sign(transfer):
    import accuracy_results as results

    pair = {"data": "d", "variant": "masked, file ties", "a": "m", "b": "n", "p_holm": 1.0, "significant": False}
    pair |= dict.fromkeys(("difference", "low", "high"), -0.0)
    assert "| +0.0000 [+0.0000, +0.0000] |" in results.markdown({"rows": [], "pairs": [pair]}, [])
