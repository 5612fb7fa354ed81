"""Who gets in, with what, how often; and what is refused before anything is done."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute

from tastemaker.errors import ConfigError
from tastemaker.serve import limits
from tastemaker.serve.auth import Accesses, FileKeys, check_bind
from tastemaker.serve.front import OPEN, STATIC
from tastemaker.serve.problems import Problem
from tastemaker.serve.settings import read_settings

ROOT = Path(__file__).parents[2]
JSON = {"content-type": "application/json"}


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def guarded(serve, folder, store):
    """A service with a key of each scope, and one of another shop."""
    secrets = {scope: store.create_key("default", scope, [scope])[0] for scope in ("read", "write", "admin")}
    secrets["other"] = store.create_key("other", "other", ["admin"])[0]
    return serve(folder, store=store), secrets


def routes(app):
    """Every route, also those of routers that are kept as they are."""
    found, left = [], list(app.routes)
    while left:
        route = left.pop()
        left += getattr(route, "routes", []) or []
        router = getattr(route, "original_router", None)
        left += [] if router is None else router.routes
        if hasattr(route, "methods"):
            found.append(route)
    return found


def filled(path):
    return (
        path.replace(":path}", "}")
        .replace("{user_id}", "u001")
        .replace("{item_id}", "i001")
        .replace("{version}", "v")
        .replace("{job_id}", "j")
        .replace("{name}", "n")
    )


def test_every_route_but_health_needs_a_key(guarded):
    client, _ = guarded
    seen = set()
    assert {"/health/live", "/health/ready", "/", "/operator"} == OPEN, "documents of the page hold no data"
    for route in routes(client.app):
        for method in route.methods - {"HEAD", "OPTIONS"}:
            path = filled(route.path)
            answer = client.request(method, path, json={} if method != "GET" else None)
            if path in OPEN:
                assert answer.status_code == 200, (method, path)
            elif path.startswith(STATIC):
                assert answer.status_code == 404, (method, path)  # files of the page are open; this one is none
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"]
                assert answer.json()["request_id"]
            seen.add((method, path))
    assert {("POST", "/v1/recommend"), ("POST", "/v1/events"), ("GET", "/openapi.json"), ("GET", "/metrics")} <= seen
    assert client.get("/v1/no-such-thing").status_code == 401
    for wrong in ("wrong", "tm_x_y", "é", ""):
        assert client.post("/v1/recommend", json={}, headers={"x-api-key": wrong.encode("latin-1")}).status_code == 401


DOCUMENTED = {
    operation: scope
    for scope, listed in re.findall(
        r"^\| `?(\w+)`? \| (.*) \|$",
        (ROOT / "docs" / "serving.md").read_text().partition("<!-- scopes -->")[2].partition("<!-- end -->")[0],
        re.MULTILINE,
    )
    for operation in re.findall(r"`([A-Z]+ /[^`]*)`", listed)
}
"""What the page on serving says which scope an operation needs, "GET /v1/..." -> scope."""


def test_every_route_is_documented_with_the_scope_it_needs(guarded):
    client, secrets = guarded
    walked = {
        f"{method} {route.path.replace(':path}', '}')}"
        for route in routes(client.app)
        if isinstance(route, APIRoute) and route.path not in {"/", "/operator"} and not route.path.startswith(STATIC)
        for method in route.methods
    }
    assert walked == set(DOCUMENTED)
    document = client.get("/openapi.json", headers=bearer(secrets["read"])).json()
    told = {
        f"{method.upper()} {path}": operation.get("security", "none")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert told == {
        operation: "none" if scope == "none" else [{"key": [scope]}] for operation, scope in DOCUMENTED.items()
    }
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


@pytest.mark.parametrize("operation", DOCUMENTED)
def test_a_route_opens_to_its_scope_and_to_admin_alone(guarded, operation):
    client, secrets = guarded
    method, path = operation.split()
    needed = DOCUMENTED[operation]
    for scope in ("read", "write", "admin"):
        answer = client.request(
            method, filled(path), json={} if method != "GET" else None, headers=bearer(secrets[scope])
        )
        refused = answer.status_code in (401, 403)
        assert refused == (needed not in ("none", scope) and scope != "admin"), (scope, answer.text)
        if refused:
            assert answer.status_code == 403
            assert f"'{needed}'" in answer.json()["detail"]


def test_all_of_a_version_is_told_to_admin_keys_alone(guarded):
    client, secrets = guarded
    version = client.get("/v1/models", headers=bearer(secrets["read"])).json()["active"]["version"]
    for scope in ("read", "write"):
        answer = client.get(f"/v1/models/{version}", headers=bearer(secrets[scope]))
        assert answer.status_code == 403
        assert "'admin'" in answer.json()["detail"]
        assert "facts" not in answer.text
    told = client.get(f"/v1/models/{version}", headers=bearer(secrets["admin"]))
    assert (told.status_code, told.json()["version"], "fitted" in told.json()["facts"]) == (200, version, True)
    assert client.get(f"/v1/models/{version}", headers=bearer(secrets["other"])).status_code == 404


def test_keys_come_in_three_ways_and_end_when_revoked(guarded, store):
    client, secrets = guarded
    for headers in (
        bearer(secrets["read"]),
        {"x-api-key": secrets["read"]},
        {"authorization": "Basic " + base64.b64encode(f"x:{secrets['read']}".encode()).decode()},
    ):
        assert client.post("/v1/recommend", json={"user_id": "u001"}, headers=headers).status_code == 200
    [key] = [key for key in store.list_keys("default") if key.name == "read"]
    store.revoke_key("default", key.key_id)
    client.service.access.forget()
    assert client.post("/v1/recommend", json={}, headers=bearer(secrets["read"])).status_code == 401


def test_another_shop_sees_nothing(guarded):
    client, secrets = guarded
    mine, theirs = bearer(secrets["admin"]), bearer(secrets["other"])
    client.put("/v1/items/mine", json={"title": "soap"}, headers=mine)
    client.put("/v1/users/me", json={"attributes": {"region": "DE"}}, headers=mine)
    client.post(
        "/v1/events", json={"events": [{"user_id": "me", "item_id": "i001", "event_type": "view"}]}, headers=mine
    )
    job = client.post(f"/v1/models/{version(client, mine)}:activate", headers=mine).json()["job_id"]
    for path in ("/v1/items/mine", "/v1/users/me", f"/v1/jobs/{job}"):
        assert client.get(path, headers=mine).status_code == 200
        assert client.get(path, headers=theirs).status_code == 404
    assert client.delete("/v1/items/mine", headers=theirs).status_code == 404
    assert client.post(f"/v1/models/{version(client, mine)}:activate", headers=theirs).status_code == 404
    assert client.get("/v1/users/me/export", headers=theirs).text == ""
    assert client.get("/v1/models", headers=theirs).json()["models"] == []
    assert client.post("/v1/recommend", json={"user_id": "me"}, headers=theirs).status_code == 409
    client.delete("/v1/users/me", headers=theirs)
    assert client.get("/v1/users/me", headers=mine).status_code == 200


def version(client, headers):
    return client.get("/v1/models", headers=headers).json()["active"]["version"]


def test_without_keys_only_this_machine_is_answered(serve, folder):
    client = serve(folder)
    assert client.get("/version").status_code == 200
    assert client.get("/version", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/version", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/version", headers={"origin": "https://evil.example"}).status_code == 403
    assert client.get("/version", headers={"origin": "http://127.0.0.1"}).status_code == 200
    form = {"content-type": "text/plain"}
    assert client.post("/v1/recommend", content=b"{}", headers=form).status_code == 415


def test_bodies_are_limited_in_size_and_depth(serve, folder):
    client = serve(folder, body_bytes=2000, batch_body_bytes=10_000)
    large = json.dumps({"wish": "x" * 3000})
    assert client.post("/v1/recommend", content=large, headers=JSON).status_code == 413

    def parts():
        for _ in range(100):
            yield b"x" * 1000

    assert client.post("/v1/recommend", content=parts(), headers=JSON).status_code == 413
    assert client.post("/v1/events", content=b"[" + b"1" * 5000 + b"]", headers=JSON).status_code == 422
    deep = b'{"session_items":' + b"[" * 65 + b"]" * 65 + b"}"
    answer = client.post("/v1/recommend", content=deep, headers=JSON)
    assert (answer.status_code, "deep" in answer.json()["detail"]) == (400, True)
    many = b'{"exclude": ["' + b"[" * 100 + b'"]}'
    assert client.post("/v1/recommend", content=many, headers=JSON).status_code == 200


def test_a_key_that_asks_too_often_waits(serve, folder):
    client = serve(folder, rate=0.5, rate_burst=3)
    answers = [client.get("/version") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 4
    assert client.get("/health/live").status_code == 200


def test_too_many_at_once_are_turned_away(serve, folder):
    client = serve(folder, in_flight=1)
    client.service.limits.in_flight = 1
    answer = client.post("/v1/recommend", json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert client.get("/health/ready").status_code == 200
    client.service.limits.in_flight = 0
    assert client.post("/v1/recommend", json={}).status_code == 200


def test_an_open_address_needs_keys(tmp_path):
    nobody = Accesses([], tenant="default")
    check_bind("127.0.0.1", nobody)
    check_bind("::1", nobody)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(ConfigError, match="make a key first"):
            check_bind(host, nobody)
    file = tmp_path / "keys"
    file.write_text("# who\nsecret-of-sixteen-and-more read,write shop\n")
    with pytest.raises(ConfigError, match="chmod 600"):
        FileKeys(file, tenant="default")
    file.chmod(0o600)
    keys = FileKeys(file, tenant="default")
    check_bind("0.0.0.0", Accesses([keys], tenant="default"))
    access = keys.find("secret-of-sixteen-and-more")
    assert (access.tenant, access.opens("write"), access.opens("admin")) == ("shop", True, False)
    assert keys.find("secret-of-sixteen-and-mor") is None
    file.write_text("secret#of-sixteen-and-more read  # a tablet\n")
    keys = FileKeys(file, tenant="default")
    assert keys.find("secret#of-sixteen-and-more").scopes == {"read"}
    assert keys.find("secret") is None
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="16 characters"):
        FileKeys(file, tenant="default")


def test_ids_never_become_paths(serve, folder, store):
    client = serve(folder, store=store)
    for item in ("../../etc/passwd", "/etc/passwd", "a\\b", "a&b=c?d#e"):
        assert client.put(f"/v1/items/{quote(item, safe='')}", json={"title": "x"}).status_code == 200
        assert client.get(f"/v1/items/{quote(item, safe='')}").json()["item_id"] == item
    for name in ("../models", "/etc", "..", "shop/../shop", ""):
        assert client.post("/v1/models", json={"folder": name}).status_code == 422
    assert client.post("/v1/models", json={"folder": "no-such-model"}).status_code == 404


def test_settings_come_from_file_environment_and_command(tmp_path, monkeypatch):
    file = tmp_path / "serve.toml"
    file.write_text("[serve]\nbudget_ms = 200\nn = 7\nrate = 5.0\n")
    monkeypatch.setenv("TASTEMAKER_SERVE_N", "8")
    settings = read_settings(file, port=9000, host=None)
    assert (settings.budget_ms, settings.n, settings.port, settings.host) == (200, 8, 9000, "127.0.0.1")
    file.write_text("[serve]\nbudgetms = 200\n")
    with pytest.raises(ConfigError, match="budget_ms"):
        read_settings(file)
    file.write_text('[serve]\nreasons_language = "de"\nprecompute_reasons = 3\n')
    with pytest.raises(ConfigError, match=r"precompute_reasons: .* phrases in English alone; set 0"):
        read_settings(file)


def test_docs_and_metrics_are_there(serve, folder):
    client = serve(folder)
    client.post("/v1/recommend", json={"user_id": "u001"})
    schema = client.get("/openapi.json").json()
    assert "/v1/recommend" in schema["paths"]
    text = client.get("/metrics").text
    assert 'tastemaker_requests_total{route="/v1/recommend",status="200"} 1.0' in text
    assert "u001" not in text


def test_gauges_of_another_shop_are_not_shown(guarded):
    client, secrets = guarded
    client.get("/v1/models", headers=bearer(secrets["other"]))
    for _ in range(2):
        mine, theirs = (client.get("/metrics", headers=bearer(secrets[name])).text for name in ("read", "other"))
        assert 'tastemaker_products{tenant="default"}' in mine
        assert 'tenant="other"' not in mine
        assert 'tastemaker_products{tenant="other"}' in theirs
        assert 'tenant="default"' not in theirs


def test_a_saved_model_is_known_to_its_own_shop_only(guarded, folder):
    client, secrets = guarded
    mine, theirs = bearer(secrets["admin"]), bearer(secrets["other"])
    assert folder.name in client.get("/v1/models", headers=mine).json()["folders"]
    assert client.get("/v1/models", headers=theirs).json()["folders"] == []
    assert client.post("/v1/models", json={"folder": folder.name}, headers=theirs).status_code == 404
    assert client.post("/v1/models", json={"folder": folder.name}, headers=mine).status_code == 200


def test_revoking_the_last_key_opens_nothing(serve, folder, store):
    key = store.create_key("default", "only", ["admin"])[1]
    store.revoke_key("default", key.key_id)
    assert serve(folder, store=store).post("/v1/recommend", json={}).status_code == 401


def test_a_text_without_end_is_read_once():
    endless = b'"' + b'\\"' * 1000 + b"[{"
    assert [token[0] for token in limits._TOKENS.finditer(b"[" + endless)] == [b"[", endless]
    assert [token[0] for token in limits._TOKENS.finditer(rb'{"a\"[":["\\"]}')] == [
        *(b"{", rb'"a\"["', b"[", rb'"\\"', b"]", b"}")
    ]


def test_a_fault_of_the_service_is_a_problem_and_repeats_nothing(serve, folder, monkeypatch, caplog):
    client = serve(folder)

    async def fail(tenant, job_id):
        raise RuntimeError(f"secret {job_id}")

    monkeypatch.setattr(client.service.jobs, "get", fail)
    answer = client.get("/v1/jobs/somebody")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.json()["request_id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "somebody" not in answer.text + caplog.text


def test_keys_are_looked_up_beside_the_requests():
    threads = []

    class Slow:
        def find(self, secret):
            threads.append(threading.get_ident())

        def any(self):
            return True

    with pytest.raises(Problem, match="wrong or revoked"):
        asyncio.run(Accesses([Slow()], tenant="default").of({b"x-api-key": b"a"}))
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
