"""The peer: a bare FastAPI route that does nothing but one matrix-vector product and a top-10.

python benchmarks/serving/bare.py ITEMS DIM      # prints its port
"""

from __future__ import annotations

import socket
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Body(BaseModel):
    """Who asks."""

    user: int


def create(items: int, dim: int) -> FastAPI:
    """Return the application."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((items, dim)).astype(np.float32)
    users = rng.standard_normal((5000, dim)).astype(np.float32)
    app = FastAPI()

    @app.post("/recommend")
    async def recommend(body: Body) -> dict[str, list[int]]:
        scores = table @ users[body.user % 5000]
        best = np.argpartition(-scores, 10)[:10]
        return {"items": best[np.argsort(-scores[best])].tolist()}

    return app


if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        create(int(sys.argv[1]), int(sys.argv[2])),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
