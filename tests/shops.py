"""Small fitted shops, saved as `tastemaker fit` saves them."""

from __future__ import annotations

from tastemaker import evaluate, registry, saved
from tastemaker.testing import tiny_shop

ASKING = (
    {"model": "transitions", "keep": 10},
    {"model": "listwise", "mode": "generate", "weight": 1.0, "candidates": 10, "max_rise": 9},
)
"""A retriever, and a listwise ranker that asks a server."""


def asking_shop(server, folder, **settings):
    """Fit a shop whose language model is the server's, with settings of `[lm]`."""
    lm = {"url": server.url, "model": "qwen", "attempts": 1, "cache": False, **settings}
    return fitted(*ASKING, folder=folder, lm=lm)


def fitted(*stages, folder, data=None, **tables):
    """Fit a pipeline on the tiny shop, save it, and return its folder."""
    shop = tiny_shop() if data is None else data
    pipeline = registry.build({"stage": list(stages), **tables})
    evaluate.fit_on_all(pipeline, shop, seed=0)
    saved.save(folder, saved.SavedModel(pipeline, shop.users, shop.queries(), {"protocol": {}}))
    return folder
