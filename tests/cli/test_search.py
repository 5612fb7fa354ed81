"""`tastemaker search`: what it prints, writes, goes on with, and refuses."""

from __future__ import annotations

import json

import pytest

from tastemaker.cli import search as cli
from tastemaker.errors import MissingExtra


@pytest.fixture
def words(shop, tmp_path):
    return ("search", "transitions", "--data", shop, "--out", tmp_path / "out", "--trials", 3)


def test_search_then_evaluate_and_fit(tastemaker, words, shop, tmp_path):
    done = tastemaker(*words)
    assert done.code == 0, done
    assert "trying stage.0.window: 1..20" in done.err
    assert "the test part is not read" in done.err and "optimistic" in done.err
    assert f"next: tastemaker evaluate {tmp_path / 'out' / 'best.toml'} --data {shop}" in done.err
    assert "best of 3 trials (3 complete)" in done.out
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    assert found["protocol"]["test_part"] == "not read"
    best = tmp_path / "out" / "best.toml"
    assert tastemaker("evaluate", best, "--data", shop, "--json").code == 0
    assert tastemaker("fit", best, "--data", shop, "--out", tmp_path / "model").code == 0
    again = tastemaker(*words, "--json")
    assert again.json()["trials"] == found["trials"]
    assert "trial 0:" not in again.err
    assert len(tastemaker(*words[:-1], 4, "--json").json()["trials"]) == 4


def test_what_is_tried_stands_in_the_file_and_other_verbs_leave_it(tastemaker, shop, tmp_path):
    file = tmp_path / "shop.toml"
    file.write_text(
        '[[stage]]\nmodel = "blend"\n[[stage.member]]\nmodel = "transitions"\n[[stage.member]]\nmodel = "ease"\n'
        '[search]\n"stage.0.pool" = [20, 30]\nstage.0.member.1.reg = "1..100:log"\n'
    )
    words = ("search", file, "--data", shop, "--out", tmp_path / "out", "--trials", 2, "--json")
    found = tastemaker(*words, "--try", "stage.0.pool=40,50", "--try", "stage.0.member.0.recency").json()
    assert found["space"] == {
        "stage.0.pool": "40, 50",
        "stage.0.member.1.reg": "1..100:log",
        "stage.0.member.0.recency": "0.2..1",
    }
    assert "search" not in found["settings"]
    assert 1 <= found["settings"]["stage"][0]["member"][1]["reg"] <= 100
    assert found["pruned_by_the_curve_of"] is None
    assert tastemaker("evaluate", file, "--data", shop, "--json").json()["config"]["stage"][0]["pool"] == 100


def test_trials_are_fitted_on_the_device(tastemaker, refused, words, shop, tmp_path, monkeypatch):
    devices, measure = [], cli.searching.study.measure_settings

    def measured(*given, device, **named):
        devices.append(device)
        return measure(*given, device="cpu", **named)

    monkeypatch.setattr(cli.searching.study, "measure_settings", measured)
    monkeypatch.setattr(cli.protocol, "check_device", lambda name: None)
    tastemaker(*words, "--device", "cuda:1")
    assert set(devices) == {"cuda:1"}
    monkeypatch.undo()
    assert "device 'nowhere': not on this machine" in refused(*words, "--device", "nowhere")
    assert "holds a data set (canonical)" in refused(*words, "--out", shop)


def test_ctrl_c_keeps_what_is_done(tastemaker, words, tmp_path, monkeypatch):
    measure, count = cli.searching.study.measure_settings, []

    def stopped(*given, **named):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return measure(*given, **named)

    monkeypatch.setattr(cli.searching.study, "measure_settings", stopped)
    done = tastemaker(*words)
    assert done.code == 130
    assert "the same command goes on" in done.err
    assert (tmp_path / "out" / "best.toml").exists()
    assert len(tastemaker(*words, "--json").json()["trials"]) == 3


def test_no_trial_that_works(tastemaker, words, tmp_path, monkeypatch):
    def broken(*given, **named):
        raise ValueError("singular matrix")

    monkeypatch.setattr(cli.searching.study, "measure_settings", broken)
    done = tastemaker(*words)
    assert done.code == 1
    assert "failed: trial 0, 1, 2: singular matrix" in done.err
    assert "no trial ran to its end" in done.err
    assert not (tmp_path / "out" / "best.toml").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--try", "stage.0.widnow=1..5"], "transitions has no such setting; did you mean 'window'"),
        (["--try", "stage.0.window=0..5"], "0: input should be greater than or equal to 1"),
        (["--try", "stage.0.window=1..5", "--try", "stage.0.window=1,2"], "tried twice"),
        (["--try", "stage.0.keep"], "say what to try"),
        (["--masking", "both"], "choose masked or unmasked"),
        (["--measure", "ndgc@10"], "did you mean 'ndcg'"),
        (["--split", "leave-one"], "did you mean 'leave-one-out'"),
        (["--sample", "5"], "cannot tell settings apart"),
    ],
)
def test_mistakes_are_one_line(refused, words, tmp_path, more, message):
    assert message in refused(*words, *more)
    assert not (tmp_path / "out").exists()


def test_nothing_to_try(refused, words):
    assert "has no usual settings to try" in refused("search", "popular", *words[2:])


def test_a_missing_optuna_says_what_to_install(refused, words, monkeypatch):
    def missing():
        raise MissingExtra("a search", "optuna", "search")

    monkeypatch.setattr(cli, "require_optuna", missing)
    assert "pip install 'tastemaker[search]'" in refused(*words)
