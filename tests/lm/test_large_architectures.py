"""The road of a 7B-class model, with tiny random ones of the same architectures: tuned here, served elsewhere.

The configuration is that of docs/finetuning.md, with the model's name, device and precision changed to what runs here.
"""

from __future__ import annotations

import json
import re
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tastemaker import evaluate, registry, saved
from tastemaker.data.splits import leave_one_out
from tastemaker.lm.base import Prompt
from tastemaker.lm.build import innermost
from tastemaker.lm.http import HttpChoiceLM
from tastemaker.models.llm.listwise import Listwise
from tastemaker.testing import tiny_shop

PAGE = Path(__file__).parents[2] / "docs" / "finetuning.md"


def documented():
    """The configuration for seven billion parameters, as it is printed."""
    text = PAGE.read_text().partition("## Seven billion parameters")[2]
    return tomllib.loads(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])


def smaller(settings, folder):
    settings["lm"] |= {"model": str(folder), "device": "cpu", "dtype": "float32"}
    settings["stage"][0]["keep"] = 4
    settings["stage"][1] |= {"candidates": 4, "history": 3, "profile": "none", "weight": 1.0, "orders": 1}
    settings["stage"][1]["tuning"] |= {
        "share": 1.0,
        "batch_size": 8,
        "round_steps": 10,
        "epochs": 8,
    }
    settings["stage"][1]["tuning"] |= {"tasks": ["recommend_retrieval"], "learning_rate": 1e-2, "warmup": 0}
    return settings


class Server(ThreadingHTTPServer):
    """Speaks the OpenAI protocol for a model that runs here."""

    def __init__(self, lm):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lm, self.lock = lm, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = {message["role"]: message["content"] for message in body["messages"]}
        lm = self.server.lm
        with self.server.lock, torch.inference_mode():
            ids = lm._encode(Prompt(parts["user"], parts.get("system", ""), parts.get("assistant", "")), room=1)
            logs = lm._model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            values, tokens = logs.topk(body["top_logprobs"])
        top = [
            {"token": lm._tokens.decode([token]), "logprob": value}
            for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
        ]
        choice = {"message": {"content": top[0]["token"]}, "logprobs": {"content": [{"top_logprobs": top}]}}
        answer = {"choices": [{**choice, "finish_reason": "length"}], "usage": {}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def serve():
    servers = []

    def start(lm):
        server = Server(lm)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("kind", ["Llama", "Qwen2"])
def test_the_documented_configuration_tunes_ranks_saves_and_serves(make_model, kind, tmp_path, serve):
    folder = make_model(kind, context=2048)
    split = leave_one_out(tiny_shop(users=40))
    pipeline = registry.build(smaller(documented(), folder))
    outcome = evaluate.evaluate(pipeline, split, sample=10)
    report = outcome.stages[1]["report"]
    assert report["counts"]["answered"] > 0
    assert report["tuning"]["learning_curve"][-1]["loss"] < report["tuning"]["learning_curve"][0]["loss"]
    saved.save(tmp_path / "m", saved.SavedModel(pipeline, split.train.users, split.train.queries()))
    loaded = saved.load(tmp_path / "m").pipeline
    queries = split.test.queries.take(np.arange(8))
    here = loaded.rank(queries, 4)
    assert here.items.tobytes() == pipeline.rank(queries, 4).items.tobytes()
    tuned = innermost(loaded.stages[1].recommender.lm)
    lm = HttpChoiceLM(url=serve(tuned), model="tuned", continue_answer=True, logprobs=True)
    try:
        settings = {key: value for key, value in loaded.stages[1].recommender.config if key != "tuning"}
        remote = Listwise(lm=lm, **settings).fit(split.train)
        offered = loaded.stages[0].recommender.rank(queries, 4)
        there, local = (one.own_order(queries, offered) for one in (remote, loaded.stages[1].recommender))
    finally:
        lm.close()
    answered = there.lengths > 0
    assert answered.sum() >= 6
    assert there.items[answered, 0].tolist() == local.items[answered, 0].tolist()
