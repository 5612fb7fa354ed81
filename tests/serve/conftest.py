"""A fitted tiny shop, and the service around it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from live_server import AMPLE
from postgresql_server import postgresql_server, postgresql_url
from shops import fitted

from tastemaker import saved
from tastemaker.serve.app import create_app
from tastemaker.serve.precomputing.stages import close_language_models
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings
from tastemaker.store import open_store

__all__ = ["postgresql_server", "postgresql_url"]
HOME = "http://127.0.0.1"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model that anybody can fit: who bought this also bought, with a text model behind."""
    return fitted({"model": "transitions"}, folder=tmp_path_factory.mktemp("models") / "shop")


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    return fitted({"model": "text_knn"}, folder=tmp_path_factory.mktemp("models") / "texts")


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Close the connections to the language model of every model that was loaded."""
    loaded, load = [], saved.load

    def keep(folder, **more):
        loaded.append(load(folder, **more))
        return loaded[-1]

    monkeypatch.setattr(saved, "load", keep)
    yield
    for model in loaded:
        close_language_models(model.pipeline)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "shop.db") as opened:
        yield opened


@pytest.fixture
def serve(store):  # the store is closed after the services that use it
    """Return a function that starts the service of a model folder and returns a client of it."""
    opened = []

    def start(folder, *, keys=(), store=None, **settings):
        service = Service(Settings(**{"budget_ms": AMPLE, **settings}), keys=keys, store=store)
        if folder is not None:
            service.add_model(folder)
        client = TestClient(create_app(service), base_url=HOME)
        client.__enter__()
        client.service = service
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)
