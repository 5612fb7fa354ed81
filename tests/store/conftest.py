"""A store of each kind: an SQLite file, and a database on a real PostgreSQL server that the session starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from postgresql_server import fresh_database, postgresql_server, postgresql_url

from tastemaker.store import open_store

__all__ = ["postgresql_server", "postgresql_url"]


@pytest.fixture(scope="session")
def postgresql_data(postgresql_server):
    """The folder with the server's files."""
    import psycopg

    with psycopg.connect(f"{postgresql_server}/postgres") as connection:
        return Path(connection.execute("SHOW data_directory").fetchone()[0])


@pytest.fixture
def sqlite_url(tmp_path):
    """Address of a store that is not there yet, alone in its folder."""
    return f"sqlite:///{tmp_path / 'store' / 'shop.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Address of an empty store that is not there yet, of each kind in turn."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(scope="session")
def made_sqlite_store(tmp_path_factory):
    """A file with an empty store; copied, it saves the steps that make one."""
    path = tmp_path_factory.mktemp("made") / "shop.db"
    open_store(path).close()
    return path


@pytest.fixture(scope="session")
def made_postgresql_store(postgresql_server):
    """A store in PostgreSQL; emptied, it saves the steps that make one."""
    with open_store(fresh_database(postgresql_server)) as opened:
        yield opened


@pytest.fixture
def sqlite_path(tmp_path, made_sqlite_store):
    """Path of an empty store, alone in its folder."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    shutil.copy(made_sqlite_store, folder / "shop.db")
    return folder / "shop.db"


@pytest.fixture
def sqlite_store(sqlite_path):
    """An empty store in an SQLite file."""
    with open_store(sqlite_path) as opened:
        yield opened


@pytest.fixture
def postgresql_store(made_postgresql_store):
    """An empty store in PostgreSQL."""
    from tastemaker.store import schema

    yield made_postgresql_store
    made_postgresql_store.flush()
    with made_postgresql_store._database.write() as connection:
        for table in schema.metadata.tables:
            connection.exec_driver_sql(f"DELETE FROM {table}")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request):
    """An empty store, of each kind in turn."""
    return request.getfixturevalue(f"{request.param}_store")
