"""Where learning curves go: real JSON lines, real TensorBoard events, a real MLflow store."""

from __future__ import annotations

import builtins
import json

import pytest

from tastemaker.errors import ConfigError, DataError, MissingExtra
from tastemaker.neural.training.curves import opened

ENTRIES = [{"epoch": 1, "loss": 2.5, "ndcg@10": 0.1}, {"epoch": 2, "loss": 1.5, "ndcg@10": 0.2}]


def feed(place, entries=ENTRIES):
    with opened([place]) as sink:
        for entry in entries:
            sink("0/sasrec", entry)


def test_json_lines_can_be_followed_and_gone_on_with(tmp_path):
    file = tmp_path / "new" / "curves.jsonl"
    with opened([f"jsonl:{file}"]) as sink:
        sink("0/sasrec", ENTRIES[0])
        assert json.loads(file.read_text()) == {"part": "0/sasrec", **ENTRIES[0]}  # written out at once
    feed(f"jsonl:{file}", ENTRIES[1:])
    assert [json.loads(line)["epoch"] for line in file.read_text().splitlines()] == [1, 2]


def test_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    feed(f"tensorboard:{tmp_path}")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("0/sasrec/loss")] == [(1, 2.5), (2, 1.5)]
    assert sorted(events.Tags()["scalars"]) == ["0/sasrec/loss", "0/sasrec/ndcg@10"]


def test_mlflow_metrics(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    place = (tmp_path / "runs").as_uri()
    with pytest.raises(ConfigError, match=r"MLflow cannot use it; give the address of a server or a database"):
        feed(f"mlflow:{place}")  # MLflow takes folders only if it is told to
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for _ in range(2):  # the experiment is made once
        feed(f"mlflow:{place}")
    client = MlflowClient(tracking_uri=place)
    runs = client.search_runs([client.get_experiment_by_name("tastemaker").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    history = client.get_metric_history(runs[0].info.run_id, "0/sasrec/ndcg_at_10")
    assert [(one.step, one.value) for one in history] == [(1, 0.1), (2, 0.2)]


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, kind, package):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == package or name == f"torch.utils.{package}":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=rf"--curves {kind} needs {package}: pip install 'tastemaker\[tracking\]'"):
        feed(f"{kind}:{tmp_path}")


def test_no_description_is_no_sink():
    with opened([]) as sink:
        assert sink is None


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="--curves jsonnl:x: unknown kind of learning curve; did you mean 'jsonl'"):
        feed("jsonnl:x")
    with pytest.raises(ConfigError, match="--curves jsonl: says no place; write jsonl:PLACE"):
        feed("jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        feed(f"jsonl:{tmp_path}")
