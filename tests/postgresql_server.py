"""A real PostgreSQL server that the session starts, for all tests that need one."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

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
