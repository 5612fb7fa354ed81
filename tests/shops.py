"""Small fitted shops, saved as `tastemaker fit` saves them."""

from __future__ import annotations

from tastemaker import evaluate, registry, saved
from tastemaker.testing import tiny_shop


def fitted(*stages, folder, data=None, **tables):
    """Fit a pipeline on the tiny shop, save it, and return its folder."""
    shop = tiny_shop() if data is None else data
    pipeline = registry.build({"stage": list(stages), **tables})
    evaluate.fit_on_all(pipeline, shop, seed=0)
    saved.save(folder, saved.SavedModel(pipeline, shop.users, shop.queries(), {"protocol": {}}))
    return folder
