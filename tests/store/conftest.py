"""A store of each kind: an SQLite file, and a database on a real PostgreSQL server that the session starts."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tastemaker.store import open_store

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
NUMBERS = itertools.count()


def binaries() -> Path | None:
    """The folder with initdb and pg_ctl of the newest PostgreSQL that is installed."""
    found = [path for place in PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists()]
    if program := shutil.which("initdb"):
        found.append(Path(program).parent)
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)


def as_somebody(command: list[object]) -> list[str]:
    """PostgreSQL refuses to run as root: as root, run the command as another user."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *words]


@pytest.fixture(scope="session")
def postgresql_server():
    """Address of a fresh PostgreSQL server on a free port of the loopback interface."""
    programs = binaries()
    if programs is None:
        if os.environ.get("TASTEMAKER_REQUIRE_POSTGRESQL"):
            pytest.fail("TASTEMAKER_REQUIRE_POSTGRESQL is set and no PostgreSQL server is installed")
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="tastemaker-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, "nobody", "nogroup")
            shutil.chown(folder, "nobody", "nogroup")

        def run(program: str, *words: object) -> None:
            command = as_somebody([programs / program, *words])
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

        run("initdb", "-D", data, "-U", "tester", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        run("pg_ctl", "-D", data, "-w", "-s", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-s", "stop")


@pytest.fixture(scope="session")
def postgresql_data(postgresql_server):
    """The folder with the server's files."""
    import psycopg

    with psycopg.connect(f"{postgresql_server}/postgres") as connection:
        return Path(connection.execute("SHOW data_directory").fetchone()[0])


def fresh_database(server: str) -> str:
    """Make an empty database on a server; return its address."""
    import psycopg

    name = f"shop{next(NUMBERS)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture
def postgresql_url(postgresql_server):
    """Address of a fresh, empty database."""
    return fresh_database(postgresql_server)


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
