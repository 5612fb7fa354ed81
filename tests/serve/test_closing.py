"""A stop under load: whoever came through the door is answered, whoever comes later refused; nobody is broken off."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tastemaker.serve import running
from tastemaker.serve.listening import connections, door
from tastemaker.serve.service import Service
from tastemaker.serve.settings import Settings

REQUEST = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@contextmanager
def serving(leave_seconds=0.0):
    """Run the server of `tastemaker serve` in a thread; give it, its event loop and its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    place, started, loops = listener.getsockname(), threading.Event(), []
    server = running.Server(Service(Settings(leave_seconds=leave_seconds)), started.set)
    real = server.startup

    async def startup(sockets=None):
        loops.append(running.asyncio.get_running_loop())
        await real(sockets)

    server.startup = startup
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert started.wait(20)
    try:
        yield server, loops[0], place
    finally:
        if server._leaves is None:  # a second signal would not wait
            server.handle_exit(signal.SIGTERM, None)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Leave Python's garbage collection and its switches between threads as they are."""
    interval = sys.getswitchinterval()
    monkeypatch.setattr(running.gc, "freeze", lambda: None)
    yield
    sys.setswitchinterval(interval)


def asked(connection):
    """Send a request over a connection that is open, and return the status, or how it was broken off."""
    try:
        connection.sendall(REQUEST)
        answer = connection.recv(65536)
    except OSError as error:
        return type(error).__name__
    return int(answer[9:12]) if answer else "closed without an answer"


def once(place):
    """Come, ask and go; "refused" if nobody was let in."""
    with socket.socket() as connection:
        connection.settimeout(10)
        try:
            connection.connect(place)
        except ConnectionRefusedError:
            return "refused"
        return asked(connection)


@pytest.mark.parametrize("filtered", [True, False])
def test_whoever_waits_at_the_door_when_it_closes_is_answered(filtered, monkeypatch):
    if not filtered:  # as on systems that cannot turn newcomers away
        monkeypatch.setattr(door, "turn_newcomers_away", lambda listener: False)
    with serving() as (server, loop, place):
        busy, go_on = threading.Event(), threading.Event()

        def hold():
            """Keep the event loop until the door is due to close and many have come."""
            busy.set()
            go_on.wait(20)

        assert once(place) == 200
        loop.call_soon_threadsafe(hold)
        assert busy.wait(10)
        came = [socket.create_connection(place, timeout=10) for _ in range(60)]
        for connection in came[::2]:  # half of them ask before, half after
            connection.sendall(REQUEST)
        server.handle_exit(signal.SIGTERM, None)
        time.sleep(0.15)  # so that the look at whether it is time is due before anybody is let in
        go_on.set()
        with ThreadPoolExecutor(30) as pool:
            late = list(pool.map(asked, came[1::2]))
        early = [int(connection.recv(65536)[9:12]) for connection in came[::2]]
        for connection in came:
            connection.close()
    assert set(early) == {200}
    assert set(late) == {200}
    assert once(place) == "refused"


def test_stops_under_load_break_nobody_off():
    for _ in range(6):
        outcomes, over = [], threading.Event()
        with serving(leave_seconds=0.05) as (server, _, place):

            def shop(place=place, outcomes=outcomes, over=over):
                while not over.is_set():
                    outcomes.append(once(place))
                    if outcomes[-1] == "refused":
                        return

            with ThreadPoolExecutor(8) as pool:
                shoppers = [pool.submit(shop) for _ in range(8)]
                end = time.monotonic() + 20
                while len(outcomes) < 50 and time.monotonic() < end:
                    time.sleep(0.005)
                server.handle_exit(signal.SIGTERM, None)
                for one in shoppers:
                    one.result(timeout=20)
                over.set()
        assert len(outcomes) >= 50
        assert set(outcomes) == {200, "refused"}, set(outcomes)


@pytest.mark.skipif(sys.platform != "linux", reason="newcomers can be turned away on Linux alone")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_newcomers_hear_nothing_and_those_inside_go_on(family):
    with socket.socket(family) as listener:
        try:
            listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        except OSError:
            pytest.skip("this machine has no such address")
        listener.listen(8)
        waiting = [socket.socket(family) for _ in range(3)]
        for one in waiting:
            one.connect(listener.getsockname())
        if not door.turn_newcomers_away(listener):
            pytest.skip("this sandbox has no filters")
        with socket.socket(family) as newcomer:
            newcomer.settimeout(0.2)
            with pytest.raises(TimeoutError):
                newcomer.connect(listener.getsockname())
        found = door.those_in_the_queue(listener)
        assert len(found) == 3
        assert door.those_in_the_queue(listener) == []
        waiting[0].sendall(b"still here")
        found[0].settimeout(5)
        assert found[0].recv(100) == b"still here"
        for one in (*waiting, *found):
            one.close()


def test_who_has_come_in_and_not_asked_yet_gets_longer_than_who_was_answered(monkeypatch):
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(connections, "FRESH_SECONDS", 20)
    with serving() as (server, _, place):
        answered, fresh = (socket.create_connection(place, timeout=10) for _ in range(2))
        assert asked(answered) == 200
        server.handle_exit(signal.SIGTERM, None)
        assert answered.recv(100) == b"", "closed"
        assert asked(fresh) == 200
        for one in (answered, fresh):
            one.close()
