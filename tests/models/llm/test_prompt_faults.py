"""Servers that misbehave, and every prompt that asks them: counted failures, no crash and no wrong product."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tastemaker.augment.edges import propose
from tastemaker.augment.settings import AugmentConfig
from tastemaker.data import Queries, Ranking
from tastemaker.data.splits import leave_one_out
from tastemaker.encoders.tfidf import TfidfEncoder
from tastemaker.errors import LanguageModelError
from tastemaker.lm.http import HttpLM
from tastemaker.lm.scripted import GARBLED, ScriptedLM
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.llm.listwise import Listwise
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import tiny_shop
from tastemaker.text.item_writer import ItemWriter
from tastemaker.text.profile import ProfileWriter
from tastemaker.text.shopper_picker import ShopperPicker
from tastemaker.text.wishes.wish_lm import LanguageModelReader
from tastemaker.text.wishes.wish_rules import RuleReader

SOURCES = [{"profile": "lm"}, {"chain_of_thought": True}]
OFFERED = (20, 3, 5, 31, 4, 6, 8, 7, 12, 9)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        status, text = self.server.play(self.server)
        answer = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}
        data = text.encode("utf-8", "replace") if status == 0 else json.dumps(answer).encode()
        self.send_response(status or 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked, server.over = [], threading.Event()
    server.handle_error = lambda *arguments: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("settings", SOURCES)
def test_a_model_that_never_answers_is_not_asked_on_while_the_weight_is_chosen(settings):
    """Profiles and intents come before the first question; there, a server that hangs would take hours."""
    split = leave_one_out(tiny_shop(users=80))
    lm = ScriptedLM([LanguageModelError("down")] * 200)
    ranker = Listwise(lm=lm, mode="generate", calibration=20, **settings)
    pipeline = Pipeline([Stage(Transitions(), keep=8), Stage(ranker)]).fit(split.train)
    with pytest.raises(LanguageModelError, match="failed 5 times, without one answer; the last failure: down"):
        pipeline.calibrate(split.validation)
    assert len(lm.asked) == 5


def hangs(server):
    server.over.wait(5)
    return 500, ""


def says(status, text):
    return lambda server: (status, text)


FAULTS = {
    "hangs": hangs,
    "over the context": says(400, "maximum context length exceeded"),
    "down": says(500, ""),
    "no JSON": says(0, "<html>proxy error</html>"),
    "other JSON": says(0, '{"error": {"message": "no"}}'),
    "another product": says(200, "You should buy the iPhone 15 Pro Max, item i999."),
    "repeats": says(200, "A, A, A, A, A, A, A, A, A, A, A, A, A, A"),
    "beyond the letters": says(200, "X, Y, Z, Z, Q, T"),
    **{f"garbled {number}": says(200, text) for number, text in enumerate(GARBLED)},
}
"""What goes wrong -> status and text of every answer; status 0 for a body that is no chat answer."""


def model_of(server, fault):
    server.play = FAULTS[fault]
    return HttpLM(
        url=f"http://127.0.0.1:{server.server_address[1]}/v1", model="any", timeout=0.2, attempts=1, parallel=1
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_server_does_the_list_is_made_of_what_was_offered(server, fault):
    with model_of(server, fault) as lm:
        model = Listwise(
            lm=lm, weight=1.0, mode="generate", demonstrations=2, chain_of_thought=True, profile="lm", window=6, step=4
        ).fit(tiny_shop())
        offered = Ranking(np.array([OFFERED], np.int32), -np.arange(len(OFFERED), dtype=np.float32)[None])
        ranking = model.rank(Queries.from_lists([[1, 2]]), len(OFFERED), candidates=offered)
    assert sorted(ranking.items[0].tolist()) == sorted(OFFERED)
    said = model.report()
    counts = said["counts"]
    failed = sum(count for name, count in counts.items() if name.startswith("failed"))
    assert failed + counts.get("answered", 0) == 2, "two windows"
    if failed == 2:
        assert tuple(ranking.items[0].tolist()) == OFFERED
    if fault in ("hangs", "over the context", "down", "no JSON", "other JSON"):
        assert counts == {"failed: LanguageModelError": 2}
        assert (said["profiles_failed"], said["intents_failed"]) == (1, 1)
    kinds = {body["messages"][0]["content"].split(".")[0] for body in server.asked}
    assert kinds == {
        "You summarise what a shopper likes",
        "You work out what a shopper is after",
        "You rank products for an online shop",
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_writers_and_readers_survive_too(server, fault):
    data = tiny_shop()
    with model_of(server, fault) as lm:
        wish = LanguageModelReader(data.items, lm).read("under 20, not Acme")
        assert wish.filters == RuleReader(data.items).read("under 20, not Acme").filters
        [profile] = ProfileWriter(data.items, lm=lm).write([np.array([1, 2, 5], np.int32)])
        assert all(set(keyword.support) <= {1, 2, 5} for keyword in profile.keywords)
        writer = ItemWriter(data.items, lm)
        assert all(len(text) <= 300 for text in (*writer.descriptions([1]), *writer.keywords([1])))
        picker = ShopperPicker(lm)
        edges = propose(data, TfidfEncoder(), AugmentConfig(most=1, picked=2), picker=picker)
        assert len(edges.users) <= 2
        assert set(edges.items.tolist()) <= set(np.flatnonzero(data.popularity == 0).tolist())
        assert sum(picker.counts[word] for word in ("picked", "unreadable", "failed")) == edges.asked == 1
