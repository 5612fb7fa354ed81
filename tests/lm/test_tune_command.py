"""`tastemaker tune CONFIG` and `weights export`, with a tiny random model."""

from __future__ import annotations

import json
import sys

import pytest

from tastemaker.cli.main import run
from tastemaker.data.writers.canonical import write
from tastemaker.testing import tiny_shop

CONFIG = """
[lm]
model = "{folder}"
cache = false

[[stage]]
model = "transitions"
keep = 4

[[stage]]
model = "pointwise"
candidates = 4
history = 2
profile = "none"
weight = 1.0
{tuning}
"""
TUNING = """
[stage.tuning]
share = 1.0
batch_size = 8
round_steps = 2
rank = 2
"""


@pytest.fixture
def call(capsys, monkeypatch):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["tastemaker", *map(str, words)])
        capsys.readouterr()
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def roomy(make_model):
    return make_model(context=1024)


@pytest.fixture
def shop(tmp_path):
    write(tiny_shop(users=30), tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def config(tmp_path, roomy):
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=roomy, tuning=TUNING))
    return tmp_path / "c.toml"


def test_tune_is_fit_for_a_configuration_that_tunes(call, config, shop, tmp_path):
    curve, state = tmp_path / "curve.jsonl", tmp_path / "state"
    code, out, err = call(
        *("tune", config, "--data", shop, "--out", tmp_path / "tuned", "--json"),
        *("--curves", f"jsonl:{curve}", "--checkpoints", state, "--device", "cpu"),
    )
    assert code == 0, err
    report = json.loads(out)["reports"][1]
    assert report["tuning"]["pairs"]["yes_no"] > 0
    lines = [json.loads(line) for line in curve.read_text().splitlines()]
    assert [line["step"] for line in lines] == [entry["step"] for entry in report["tuning"]["learning_curve"]]
    assert {line["part"] for line in lines} == {"1/pointwise"}
    assert not list(state.rglob("*.checkpoint"))
    code, _, err = call("fit", config, "--data", shop, "--out", tmp_path / "fitted")
    assert code == 0, err
    arrays = [(tmp_path / name / "arrays.safetensors").read_bytes() for name in ("tuned", "fitted")]
    assert arrays[0] == arrays[1]
    code, out, err = call("recommend", tmp_path / "tuned", "--user", "u001", "--json")
    assert code == 0, err
    code, out, err = call("weights", "export", tmp_path / "tuned", tmp_path / "adapter", "--json")
    assert code == 0, err
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    code, out, err = call("tune", tmp_path / "tuned", "--data", shop, "--out", tmp_path / "further", "--json")
    assert code == 0, err
    assert (tmp_path / "further" / "arrays.safetensors").read_bytes() != arrays[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "stage.1.tuning.rank=0"), "tuning.rank"),
        (("--share", "0.5"), "set share in the table"),
        (("--device", "cuda:9"), "not on this machine"),
    ],
)
def test_mistakes_are_named(call, config, shop, tmp_path, words, message):
    code, _, err = call("tune", config, "--data", shop, "--out", tmp_path / "m", *words)
    assert code == 2
    assert message in err


def test_a_configuration_that_tunes_nothing_is_refused(call, shop, tmp_path, roomy):
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=roomy, tuning=""))
    code, _, err = call("tune", tmp_path / "c.toml", "--data", shop, "--out", tmp_path / "m")
    assert code == 2
    assert "add one, or use tastemaker fit" in err
