"""What another process puts into the same store is followed; what cannot be taken in keeps nothing else out."""

from __future__ import annotations

import json
import shutil

import pytest
from live_server import until

from tastemaker.cli.main import run as command_line
from tastemaker.serve import shops
from tastemaker.serve.engine import views
from tastemaker.serve.engine.texts import Texts
from tastemaker.store import open_store
from tastemaker.store.folders import model_in
from tastemaker.store.records import Event, Item, ModelVersion, User


def listed(client, **body):
    answer = client.post("/v1/recommend", json={"n": 10, "budget_ms": 5000, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def rules_for(item, region="DE"):
    return {"rule": [{"name": "not-there", "when": {"user": {"region": [region]}}, "hide": {"items": [item]}}]}


@pytest.fixture
def two(serve, folder, store, monkeypatch):
    """Two services over one store, as two processes are over one database."""
    monkeypatch.setattr(type(store), "exclusive", False)
    first = serve(folder, store=store, follow_seconds=0.02)
    return first, serve(None, store=store, follow_seconds=0.02)


def test_shoppers_attributes_put_in_one_process_count_in_the_other(two, store):
    one, other = two
    [item, *_] = listed(other, user_id="u001")
    assert one.put("/v1/rules", json={"rules": rules_for(item)}).status_code == 200
    until(lambda: other.service.shops["default"].rules_version == 1)
    assert item in listed(other, user_id="u001")
    assert one.put("/v1/users/u001", json={"attributes": {"region": "DE"}}).status_code == 200
    until(lambda: item not in listed(other, user_id="u001"))
    assert one.patch("/v1/users/u001", json={"attributes": {"region": None}}).status_code == 200
    until(lambda: item in listed(other, user_id="u001"))
    store.put_users("default", [User("u001", {"region": "DE"})])
    until(lambda: item not in listed(other, user_id="u001"))
    store.delete_user("default", "u001")
    until(lambda: item in listed(other, user_id="u001"))


def test_events_products_rules_experiments_and_erasures_of_one_process_count_in_the_other(two):
    one, other = two
    [bought, hidden, ruled, *_] = listed(other, user_id="u001")
    event = {"user_id": "u001", "item_id": bought, "event_type": "purchase"}
    assert one.post("/v1/events", json={"events": [event]}).status_code == 202
    until(lambda: bought not in listed(other, user_id="u001"))
    one.patch(f"/v1/items/{hidden}", json={"hidden": True})
    until(lambda: hidden not in listed(other, user_id="u001"))
    one.put("/v1/rules", json={"rules": {"rule": [{"name": "off", "hide": {"items": [ruled]}}]}})
    until(lambda: ruled not in listed(other, user_id="u001"))
    variants = [{"name": "a", "settings": {"strategy": "popular"}}, {"name": "b", "settings": {"strategy": "popular"}}]
    one.put("/v1/experiments/x", json={"experiment": {"variants": variants}})
    until(lambda: other.post("/v1/recommend", json={"user_id": "u001"}).json()["strategy"] == "popular")
    one.put("/v1/experiments/x", json={"experiment": {"variants": variants, "traffic": [0, 1e-9]}})
    one.delete("/v1/users/u001")
    until(lambda: listed(other, user_id="u001") == listed(other, user_id="nobody"))


def test_own_events_do_not_have_shoppers_read_again(serve, folder, store, monkeypatch):
    monkeypatch.setattr(type(store), "exclusive", False)
    client = serve(folder, store=store, follow_seconds=60)
    shop = client.service.shops["default"]
    listed(client, user_id="u001")
    body = {"events": [{"event_id": "mine", "user_id": "u001", "item_id": "i001", "event_type": "view"}]}
    client.post("/v1/events", json=body)
    kept = shop.engine.shoppers.here("u001")
    client.portal.call(shop.follow)
    assert shop.engine.shoppers.here("u001") is kept
    store.append_events("default", [Event("theirs", "u001", "i002", "view", 5)])
    client.portal.call(shop.follow)
    assert shop.engine.shoppers.here("u001") is None


def test_nothing_is_read_where_nothing_changed(serve, folder, store, monkeypatch):
    monkeypatch.setattr(type(store), "exclusive", False)
    client = serve(folder, store=store, follow_seconds=60)
    shop = client.service.shops["default"]
    client.portal.call(shop.follow)
    for name in ("get_rules", "list_experiments", "items_after", "events_after", "users_after", "active_model"):
        monkeypatch.setattr(store, name, None)
    client.portal.call(shop.follow)
    assert not shop.behind(store.revisions(["default"])["default"])


def test_the_command_line_changes_what_a_running_service_answers(
    serve, folder, postgresql_url, tmp_path, capsys, monkeypatch
):
    def tastemaker(*words):
        monkeypatch.setattr("sys.argv", ["tastemaker", *words, "--store", postgresql_url])
        try:
            command_line()
        except SystemExit as ended:
            assert ended.code in (0, None), capsys.readouterr().err

    with open_store(postgresql_url) as store:
        client = serve(folder, store=store, follow_seconds=0.05)
        [hidden, bought, *_] = listed(client, user_id="u001")
        store.put_items("default", [Item(hidden, "Known to the store")])
        tastemaker("item", "hide", hidden)
        until(lambda: hidden not in listed(client, user_id="u001"))
        tastemaker("item", "show", hidden)
        until(lambda: hidden in listed(client, user_id="u001"))
        tastemaker("events", "add", "--user", "u001", "--item", bought, "--type", "purchase")
        until(lambda: bought not in listed(client, user_id="u001"))
        document = tmp_path / "lines.jsonl"
        document.write_text(json.dumps({"kind": "user", "user_id": "u001", "attributes": {"region": "DE"}}) + "\n")
        store.put_rules("default", rules_for(hidden), "test")
        tastemaker("db", "import", str(document))
        until(lambda: hidden not in listed(client, user_id="u001"))
        tastemaker("user", "delete", "u001")
        until(lambda: listed(client, user_id="u001") == listed(client, user_id="nobody"))
        client.__exit__(None, None, None)


def test_a_look_at_the_store_that_fails_is_not_the_last(two, store, monkeypatch):
    one, other = two
    [hidden, *_] = listed(other, user_id="u001")
    real, failed = store.revisions, []

    def failing(tenants):
        failed.append(True)
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(store, "revisions", failing)
    until(lambda: len(failed) > 2)
    monkeypatch.setattr(store, "revisions", real)
    one.patch(f"/v1/items/{hidden}", json={"hidden": True})
    until(lambda: hidden not in listed(other, user_id="u001"))


def test_an_active_model_that_cannot_be_loaded_keeps_nothing_else_from_being_followed(two, store, tmp_path):
    one, other = two
    [hidden, *_] = listed(other, user_id="u001")
    store.put_model("default", ModelVersion("gone", str(tmp_path / "gone")))
    store.activate_model("default", "gone")
    assert one.patch(f"/v1/items/{hidden}", json={"hidden": True}).status_code == 200
    until(lambda: hidden not in listed(other, user_id="u001"))


@pytest.fixture
def breaking(monkeypatch):
    """Products whose title begins so break every view that has them."""
    real = Texts.new_on

    def new_on(self, shelf):
        if any(str(columns.get("title", "")).startswith("breaks") for columns in shelf.changed.values()):
            raise RuntimeError("secret of the product")
        return real(self, shelf)

    monkeypatch.setattr(Texts, "new_on", new_on)


def test_a_model_that_is_mended_answers_again_whoever_mends_it(
    serve, folder, text_folder, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(type(store), "exclusive", False)
    monkeypatch.setattr(shops, "TRY_AGAIN", 0.05)
    for version, place in (("spring", folder), ("autumn", text_folder)):
        shutil.copytree(place, tmp_path / version)
        store.put_model("default", model_in(tmp_path / version, version))
        store.activate_model("default", version)
    shutil.move(tmp_path / "autumn", tmp_path / "away")
    client = serve(None, store=store, follow_seconds=0.02)

    def version():
        return client.post("/v1/recommend", json={"n": 1}).json()["model_version"]

    assert (version(), client.get("/health/ready").json()["model_faults"]) == ("spring", 1)
    shutil.move(tmp_path / "away", tmp_path / "autumn")
    until(lambda: version() == "autumn")
    assert client.get("/health/ready").json()["model_faults"] == 0
    store.put_model("default", ModelVersion("none", str(tmp_path / "none")))
    store.activate_model("default", "none")
    until(lambda: client.get("/health/ready").json()["model_faults"] == 1)
    assert "'autumn' answers, as the active version 'none'" in client.get("/v1/models").json()["fault"]
    store.rollback_model("default")
    until(lambda: client.get("/health/ready").json()["model_faults"] == 0)
    assert version() == "autumn"


def test_a_product_that_breaks_the_view_is_left_out_counted_and_named(serve, folder, store, breaking, caplog):
    client = serve(folder, store=store)
    shop = client.service.shops["default"]
    [known, *_] = listed(client, user_id="u001")
    rows = [{"item_id": f"n{number}", "title": f"soap number {number}"} for number in range(7)]
    rows[3]["title"] = "breaks"
    rows.append({"item_id": known, "title": "breaks too", "hidden": True})
    assert client.post("/v1/items:batch", json={"items": rows}).status_code == 200
    shelf = shop.engine.views.now.shelf
    assert sorted(shelf.new) == ["n0", "n1", "n2", "n4", "n5", "n6"]
    assert known not in listed(client, user_id="u001"), "what was hidden is hidden, whatever else it brought"
    assert "n3" in caplog.text
    assert "secret" not in caplog.text
    assert 'tastemaker_products_refused{tenant="default"} 2.0' in client.get("/metrics").text
    rules = {"rule": [{"name": "off", "hide": {"items": ["i039"]}}]}
    assert client.put("/v1/rules", json={"rules": rules}).status_code == 200
    assert client.post(f"/v1/models/{store.active_model('default').version}:activate").json()["state"] == "done"
    assert 'tastemaker_products_refused{tenant="default"} 2.0' in client.get("/metrics").text
    assert client.put("/v1/items/later", json={"title": "soap"}).status_code == 200
    assert "later" in shop.engine.views.now.shelf.new
    assert client.put("/v1/items/n3", json={"title": "mended soap"}).status_code == 200
    assert client.put(f"/v1/items/{known}", json={"title": "mended"}).status_code == 200
    assert {"n3", "later"} <= {*shop.engine.views.now.shelf.new}
    assert known in listed(client, user_id="u001")
    assert 'tastemaker_products_refused{tenant="default"} 0.0' in client.get("/metrics").text


def test_it_keeps_no_other_model_from_answering_either(serve, folder, text_folder, store, breaking):
    store.put_items("default", [Item("n1", "soap"), Item("n2", "breaks"), Item("n3", "soap three")])
    client = serve(folder, store=store)
    client.portal.call(client.service.shops["default"].engine.views.settled)
    assert client.service.shops["default"].engine.views.now.shelf.new == ("n1", "n3")
    store.put_model("default", ModelVersion("texts", str(text_folder)))
    assert client.post("/v1/models/texts:activate").json()["state"] == "done"
    assert client.service.shops["default"].engine.views.now.shelf.new == ("n1", "n3")


def test_a_fault_that_is_not_of_a_product_is_told(serve, folder, store, monkeypatch):
    client = serve(folder, store=store)
    shop = client.service.shops["default"]

    def broken(*_):
        raise RuntimeError("not the product's")

    monkeypatch.setattr(views, "_view", broken)
    assert client.put("/v1/items/n1", json={"title": "soap"}).status_code == 500
    assert shop.engine.views.refused == {}
    monkeypatch.undo()
    assert client.put("/v1/items/n2", json={"title": "soap"}).status_code == 200
    assert sorted(shop.engine.views.now.shelf.new) == ["n1", "n2"]
