"""Versions of the model over HTTP: what is listed, and what may be activated or gone back to."""

from __future__ import annotations

import shutil

import pytest
from shops import fitted

from tastemaker import artifact
from tastemaker.serve.service import Service, version_of
from tastemaker.serve.settings import Settings
from tastemaker.store.errors import StoreFull
from tastemaker.store.folders import model_in


@pytest.fixture
def models(folder, text_folder, tmp_path):
    """Two models beside each other."""
    shutil.copytree(folder, tmp_path / "models" / "first")
    shutil.copytree(text_folder, tmp_path / "models" / "second")
    return tmp_path / "models"


def add(client, name):
    answer = client.post("/v1/models", json={"folder": name})
    assert answer.status_code == 200, answer.text
    return answer.json()["version"]


def refusal(answer, status=409):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return answer.json()["detail"]


def test_a_list_of_models_is_short_and_one_of_them_is_told_whole(serve, models, store):
    client = serve(models / "first", store=store)
    told = client.get("/v1/models").json()
    assert (told["folders"], told["addable"]) == (["first", "second"], ["second"])
    version = add(client, "second")
    told = client.get("/v1/models").json()
    assert told["addable"] == []
    assert "facts" not in str(told)
    assert [(one["version"], one["state"], one["stages"], one["items"]) for one in told["models"]] == [
        (version_of(models / "first"), "active", ["transitions"], 40),
        (version, "ready", ["text_knn"], 40),
    ]
    whole = client.get(f"/v1/models/{version}").json()
    manifest = artifact.read_manifest(models / "second")
    assert whole["facts"] == {"model": manifest["model"], "items": manifest["items"], "fitted": {"protocol": {}}}
    assert (whole["digest"], whole["answers"]) == (artifact.fingerprint(models / "second"), None)
    assert client.get(f"/v1/models/{told['active']['version']}").json()["answers"]["users"] == told["active"]["users"]
    assert refusal(client.get("/v1/models/none"), 404)


def test_a_folder_that_was_fitted_anew_is_no_more_the_version_that_was_added(serve, models, store):
    client = serve(models / "first", store=store)
    first, second = version_of(models / "first"), add(client, "second")
    fitted({"model": "popular"}, folder=models / "second")
    detail = refusal(client.post(f"/v1/models/{second}:activate"))
    for part in (
        second,
        str(models / "second"),
        "fitted anew",
        artifact.fingerprint(models / "second")[:10],
        "--version",
    ):
        assert part in detail
    assert client.post("/v1/recommend", json={"n": 3}).json()["model_version"] == first
    assert store.active_model("default").version == first
    assert client.get("/v1/models").json()["addable"] == ["second"]
    anew = add(client, "second")
    assert anew != second
    assert client.post(f"/v1/models/{anew}:activate").json()["state"] == "done"
    assert client.get("/v1/models").json()["active"]["stages"] == ["popular"]
    shutil.rmtree(models / "second")
    assert "not a saved model" in refusal(client.post(f"/v1/models/{second}:activate"))


def test_nothing_to_go_back_to_is_a_problem(serve, models, store):
    client = serve(models / "first", store=store)
    assert "no model to roll back to" in refusal(client.post("/v1/models:rollback"))
    second = add(client, "second")
    client.post(f"/v1/models/{second}:activate")
    fitted({"model": "popular"}, folder=models / "first")
    assert "fitted anew" in refusal(client.post("/v1/models:rollback"))
    assert client.post("/v1/recommend", json={"n": 3}).json()["model_version"] == second
    assert store.active_model("default").version == second
    assert "--store" in refusal(serve(models / "second").post("/v1/models:rollback"))


def test_a_tenants_model_that_was_fitted_anew_is_not_taken_up_at_the_start(models, store, caplog):
    store.put_model("other", model_in(models / "second", "spring"))
    store.activate_model("other", "spring")
    fitted({"model": "popular"}, folder=models / "second")
    service = Service(Settings(), store=store)
    service.add_model(models / "first")
    from fastapi.testclient import TestClient

    from tastemaker.serve.app import create_app

    with TestClient(create_app(service)):
        assert service.shop("other").engine.views.now is None
        assert service.shop("default").engine.views.now is not None
    assert "fitted anew" in caplog.text
    assert "spring" in caplog.text


def test_where_the_store_cannot_note_it_the_model_before_goes_on(serve, models, store, monkeypatch):
    client = serve(models / "first", store=store)
    answers = client.get("/v1/models").json()["active"]["version"]
    second = add(client, "second")

    def full(self, tenant, version):
        raise StoreFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "activate_model", full)
        job = client.post(f"/v1/models/{second}:activate")
        assert job.status_code == 507, job.text
        assert client.get("/v1/models").json()["active"]["version"] == answers
        assert client.post("/v1/recommend", json={"n": 3}).json()["model_version"] == answers
    assert store.active_model("default").version == answers
    assert client.post(f"/v1/models/{second}:activate").json()["state"] == "done"
    assert client.post("/v1/recommend", json={"n": 3}).json()["model_version"] == second
