"""The page's routes: documents without data or key, files, a policy without exceptions; and what finds things."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import tastemaker
from tastemaker.data.entities import Entities
from tastemaker.errors import ConfigError
from tastemaker.serve.auth import EVERYTHING, Access
from tastemaker.serve.engine.finder import Finder
from tastemaker.serve.engine.shelf import Change, Shelf
from tastemaker.serve.page.site import policy, static_files
from tastemaker.serve.settings import read_settings

PAGE = Path(tastemaker.__file__).parent / "serve" / "page"


class OneKey:
    """A key for each scope: its name is its secret."""

    def find(self, secret):
        scopes = {"reader": frozenset({"read"}), "operator": EVERYTHING}.get(secret)
        return None if scopes is None else Access("default", secret, scopes)

    def any(self):
        return True


@pytest.mark.parametrize("path", ["/", "/operator"])
def test_documents_need_no_key_and_hold_no_data(serve, folder, path):
    client = serve(folder, keys=[OneKey()])
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert client.service.shops["default"].engine.views.now.live.version not in answer.text
    assert client.get("/v1/items").status_code == 401


def test_the_policy_has_no_exceptions(serve, folder):
    client = serve(folder, image_sources="https://img.shop.example https://*.cdn.example:8443")
    given = client.get("/").headers["content-security-policy"]
    assert given == policy(["https://img.shop.example", "https://*.cdn.example:8443"])
    rules = dict(rule.split(" ", 1) for rule in given.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' https://img.shop.example https://*.cdn.example:8443"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in given
    assert client.get("/").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "source",
    ["*", "https://a.example; script-src *", "javascript:alert(1)", "https://a.example/path", "data:", "'self'"],
)
def test_an_image_source_is_an_address_and_nothing_else(source):
    with pytest.raises(ConfigError, match=r"serve\.image_sources"):
        read_settings(image_sources=[source])


def test_image_sources_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TASTEMAKER_SERVE_IMAGE_SOURCES", "https://a.example https://b.example")
    assert read_settings().image_sources == ("https://a.example", "https://b.example")


def test_documents_have_nothing_inline_and_name_only_files_that_are_there(serve, folder):
    client = serve(folder)
    for path in ("/", "/operator"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|https?://", text)
        named = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
        assert named
        for file in named:
            assert client.get(file).status_code == 200


def test_scripts_never_turn_text_into_markup_nor_reach_out():
    scripts = {name: file.content.decode() for name, file in static_files().items() if name.endswith(".js")}
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|https?://(?!www\.w3\.org/2000/svg)"
    assert {name: re.findall(banned, text) for name, text in scripts.items() if re.search(banned, text)} == {}
    imported = {found for text in scripts.values() for found in re.findall(r'from "\./([^"]+)"', text)}
    assert imported <= set(scripts)


def test_files_are_asked_for_again_only_when_they_changed(serve, folder):
    client = serve(folder)
    first = client.get("/static/shopper.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = client.get("/static/shopper.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    assert first.headers["etag"] != client.get("/static/base.css").headers["etag"]


@pytest.mark.parametrize(
    "path", ["/static/nothing.js", "/static/..%2Fsite.py", "/static/%2e%2e/site.py", "/static/", "/static/a/b.js"]
)
def test_only_the_pages_files_are_served(serve, folder, path):
    assert serve(folder).get(path).status_code == 404


def test_the_page_can_be_left_out(serve, folder):
    client = serve(folder, page=False)
    assert client.get("/").status_code == 404
    assert client.get("/static/shopper.js").status_code == 404


def test_the_page_is_in_no_list_of_routes(serve, folder):
    assert not {"/", "/operator", "/static/{name}"} & set(serve(folder).get("/openapi.json").json()["paths"])


def titles(answer):
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json()["items"]]


def test_products_are_found_by_words(serve, folder):
    client = serve(folder)
    found = client.get("/v1/items", params={"query": "SOAP number", "n": 4})
    assert found.json()["total"] == 9  # i000, which would be the tenth, has no title
    assert len(titles(found)) == 4
    assert all("soap number" in title for title in titles(found))
    assert titles(client.get("/v1/items", params={"query": "acme perfume 15"})) == ["perfume number 15"]
    assert titles(client.get("/v1/items", params={"query": "no such thing"})) == []
    everything = client.get("/v1/items", params={"n": 100}).json()
    assert everything["total"] == len(everything["items"]) == 40
    popular = client.post("/v1/recommend", json={"strategy": "popular", "n": 5}).json()
    first = [item["item_id"] for item in everything["items"][:5]]
    assert first == [item["item_id"] for item in popular["items"]]


def catalogue(*titles):
    return Entities(pl.DataFrame({"id": [f"p{n}" for n in range(len(titles))], "title": list(titles)}))


def test_titles_that_begin_with_the_words_come_first_then_whole_words_then_what_is_popular():
    items = catalogue("Dark green tea", "Green tea", "Steamed greens", "Tea, evergreen", "Grün", None)
    finder = Finder(items, pl.Series([3, 0], dtype=pl.Int32).to_numpy())
    shelf = Shelf(items)
    assert finder.find(shelf, "green tea", 9) == (
        [1, 0, 3, 2],
        4,
    )  # words within words, too: some languages put no spaces
    assert finder.find(shelf, "green", 9) == ([1, 0, 2, 3], 4)
    assert finder.find(shelf, "GRUN", 9) == ([4], 1)
    assert finder.find(shelf, " ?! ", 3) == ([3, 0, 1], 6)


def test_what_was_put_is_found_and_what_is_hidden_is_not():
    items = catalogue("Green tea", "Black tea")
    finder = Finder(items, pl.Series([0], dtype=pl.Int32).to_numpy())
    shelf = Shelf(items)
    changes = [Change("new", {"title": "White tea", "categories": ["Tea", "Rare"]}), Change("p0", {"title": "Mate"})]
    after = shelf.with_changes([*changes, Change("p1", None)])
    assert finder.find(after, "tea", 9) == ([2], 1)
    assert finder.find(after, "rare", 9) == ([2], 1)
    assert finder.find(after, "mate", 9) == ([0], 1)
    assert finder.find(after, "", 9) == ([0, 2], 2)
    assert finder.find(shelf, "tea", 9) == ([0, 1], 2)


def test_shoppers_are_listed_for_operators_alone(serve, folder):
    client = serve(folder, keys=[OneKey()])
    reader, operator = {"X-API-Key": "reader"}, {"X-API-Key": "operator"}
    assert client.get("/v1/users", headers=reader).status_code == 403
    found = client.get("/v1/users", params={"prefix": "u00", "n": 3, "offset": 1}, headers=operator).json()
    assert found["total"] == 10
    assert [user["user_id"] for user in found["users"]] == ["u001", "u002", "u003"]
    model = client.service.shops["default"].engine.views.now.live.model
    assert found["users"][0]["products"] == len(model.histories.history(1))


def test_a_history_is_what_the_model_and_events_know(serve, folder):
    client = serve(folder)
    live = client.service.shops["default"].engine.views.now.live
    before = list(dict.fromkeys(live.pipeline.items.ids(live.model.histories.history(3))))
    told = client.get("/v1/users/u003/history", params={"n": 100}).json()
    assert [item["item_id"] for item in told["items"]] == before
    assert {item["known_from"] for item in told["items"]} == {"model"}
    unknown = client.get("/v1/users/nobody%2Fat all/history").json()
    assert unknown == {"user_id": "nobody/at all", "items": [], "not_wanted": []}


def test_events_become_part_of_a_history(serve, folder, store):
    client = serve(folder, store=store)
    for item, kind in (("i020", "like"), ("i021", "dislike")):
        body = {"events": [{"user_id": "u003", "item_id": item, "event_type": kind}]}
        assert client.post("/v1/events", json=body).json()["accepted"] == 1
    told = client.get("/v1/users/u003/history").json()
    assert (told["items"][-1]["item_id"], told["items"][-1]["known_from"]) == ("i020", "events")
    assert [item["item_id"] for item in told["not_wanted"]] == ["i021"]
    newest = client.get("/v1/events", params={"limit": 1}).json()["events"]
    assert [(event["item_id"], event["event_type"]) for event in newest] == [("i021", "dislike")]


def test_previews_take_no_part_in_experiments_and_are_not_noted(serve, folder, store):
    client = serve(folder, store=store)
    experiment = {"variants": [{"name": "a"}, {"name": "b", "settings": {"strategy": "popular"}}]}
    assert client.put("/v1/experiments/try", json={"experiment": experiment}).status_code == 200
    bodies = [{"user_id": f"u{number:03}", "strategy": "retriever", "n": 3} for number in range(12)]
    previews = [client.post("/v1/recommend", json=body | {"preview": True}).json() for body in bodies]
    assert {answer["strategy"] for answer in previews} == {"retriever"}
    assert {answer["variant"] for answer in previews} == {None}
    empty = client.get("/v1/experiments/try/results").json()
    assert empty["results"] is None
    assert "no list of it was shown" in empty["note"]
    shown = [client.post("/v1/recommend", json=body).json() for body in bodies]
    assert {answer["variant"] for answer in shown} == {"a", "b"}
    client.portal.call(client.service.traces.flush)
    store.flush()
    rows = client.get("/v1/experiments/try/results").json()["results"]["rows"]
    clicks = {row["variant"]: row["shoppers"] for row in rows if row["measure"] == rows[0]["measure"]}
    assert clicks == {name: sum(answer["variant"] == name for answer in shown) for name in ("a", "b")}
    assert client.get("/v1/experiments/none/results").status_code == 404


def test_rules_are_checked_before_they_are_put(serve, folder, store):
    client = serve(folder, store=store)
    good = {"rule": [{"name": "no soap", "hide": {"categories": ["soap"]}}]}
    told = client.post("/v1/rules:check", json={"rules": good})
    assert told.status_code == 200, told.text
    assert told.json()["products"] == 40
    assert told.json()["allowed"] == 30
    bad = client.post("/v1/rules:check", json={"rules": {"rule": [{"name": "x", "hid": {}}]}})
    assert bad.status_code == 422
    assert "hid" in str(bad.json()["errors"])
    assert client.get("/v1/rules").json()["version"] == 0


def metric(client, name, **labels):
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    return float(lines.get(wanted, 0))


def test_coverage_and_sources_are_counted(serve, folder):
    client = serve(folder)
    assert metric(client, "tastemaker_products", tenant="default") == 40
    assert metric(client, "tastemaker_products_shown", tenant="default") == 0
    lists = [client.post("/v1/recommend", json={"user_id": user, "n": 5}).json() for user in ("u001", "u002", "?")]
    client.post("/v1/recommend", json={"n": 40, "strategy": "popular", "preview": True})
    items = [item for answer in lists for item in answer["items"]]
    assert metric(client, "tastemaker_products_shown", tenant="default") == len({item["item_id"] for item in items})
    popular = sum(item["source"] == "popular" for item in items)
    counted = metric(client, "tastemaker_places_total", source="popular")
    assert counted >= popular + 30  # the preview counts here, too
