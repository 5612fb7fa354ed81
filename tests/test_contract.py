"""The shipped contract over every shipped model."""

from __future__ import annotations

import re

import pytest
import tiny_models

from tastemaker import registry
from tastemaker.encoders.transformer import TransformerEncoder
from tastemaker.lm.local import LocalLM
from tastemaker.lm.scripted import ScriptedChoiceLM, ScriptedLM
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import HashEncoder, RecommenderContract


def prefers_the_taste_of_the_history(prompt, answer):
    """Play a language model that picks candidates sharing a word with the purchases shown above them."""
    about = re.search(r'buy "(.*)" next\? Answer Yes or No', prompt.user)
    if about:
        history, name = prompt.user[: about.start()], about[1]
    else:
        history, _, rest = prompt.user.partition("Candidates:")
        name = re.search(rf'^{answer.strip()}\. "(.*)"$', rest, re.MULTILINE)[1]
    words = set(re.findall(r"[a-z]{4,}", name.lower()))
    shared = len(words & set(re.findall(r"[a-z]{4,}", history.lower().partition("oldest first:")[2])))
    return float(shared) if answer != "No" else 0.0


def names_the_newest_purchase(prompt):
    """Play a language model that writes the title of what was bought last."""
    return (re.findall(r'"(.*)"', prompt.user.partition("first:")[2]) or ["soap number 4"])[-1]


SETTINGS = {
    "als": {"dim": 8, "epochs": 20},
    "bpr": {"dim": 8, "epochs": 200},
    **{key: {"dim": 8, "layers": 1, "epochs": 2} for key in ("sasrec", "bert4rec", "bsarec", "gru4rec", "hstu")},
    "tiger": {"dim": 8, "layers": 1, "heads": 2, "epochs": 2, "levels": 2, "codes": 16},
    "rpg": {"dim": 8, "layers": 1, "epochs": 2, "levels": 4, "codes": 8},
    "p5": {"dim": 8, "layers": 1, "heads": 2, "epochs": 2, "vocabulary": 400},
    "listwise": {"weight": 1.0, "candidates": 20, "orders": 2},
    **{key: {"weight": 1.0, "candidates": 20} for key in ("pointwise", "pairwise", "distilled")},
    **{key: {"weight": 1.0, "dim": 8, "epochs": 1, "rounds": 1} for key in ("hybrid", "cross_encoder")},
    "grounded": {"gamma": 0.0},
}
MODELS = {
    "hybrid": lambda: LocalLM(tiny_models.causal()),
    "grounded": lambda: ScriptedLM(names_the_newest_purchase),
}
"""Language models of those that need another than a scripted chooser."""
ENCODERS = {"cross_encoder": lambda: TransformerEncoder(folder=tiny_models.sentence_encoder())}
"""Encoders of those that need the layers of one."""
CANNOT_FIND = {
    "distilled",  # its training lists hold products of one taste only
    "popular",
    "random",
    "tiger",
    "rpg",
    "sasrec",
    "bert4rec",
    "bsarec",
    "gru4rec",
    "hstu",
    "p5",
}  # the toy has no order to learn


def contract_of(name: str) -> type[RecommenderContract]:
    kind = registry.model_class(name)

    class Contract(RecommenderContract):
        finds_the_held_out_item = name not in CANNOT_FIND

        def make(self):
            parts = {
                "encoder": ENCODERS.get(name, HashEncoder)(),
                "lm": MODELS.get(name, lambda: ScriptedChoiceLM(prefers_the_taste_of_the_history))(),
                "members": [registry.model_class(name)() for name in ("transitions", "item_knn")],
            }
            known = kind.Config.model_fields
            settings = {key: value for key, value in SETTINGS.get(name, {}).items() if key in known}
            return kind(**{part: parts[part] for part in kind.takes}, **settings)

    return Contract


for _name in registry.names():
    globals()[f"Test_{_name}"] = contract_of(_name)


class TestTextEnrichedItemKNN(RecommenderContract):
    def make(self):
        return registry.model_class("item_knn")(alpha=0.5, encoder=HashEncoder())


class TestTextEnrichedUserKNN(RecommenderContract):
    def make(self):
        return registry.model_class("user_knn")(alpha=0.5, encoder=HashEncoder())


class TestP5OfSeveralCodes(RecommenderContract):
    finds_the_held_out_item = False

    def make(self):
        return registry.model_class("p5")(**SETTINGS["p5"], indexing="random", levels=2, codes=8)


class TestPipeline(RecommenderContract):
    def make(self):
        listwise = registry.model_class("listwise")
        return Pipeline(
            [
                Stage(registry.model_class("transitions")(), keep=10),
                Stage(listwise(lm=ScriptedChoiceLM(prefers_the_taste_of_the_history), weight=0.5)),
            ]
        )


def test_every_model_stands_in_a_group():
    assert {registry.group_of(name) for name in registry.names()} == {
        "collaborative",
        "content",
        "ensemble",
        "generative",
        "llm",
        "sequential",
    }


def test_an_unfitted_model_says_so_by_name():
    from tastemaker.errors import NotFitted

    with pytest.raises(NotFitted, match="transitions: not fitted; call fit"):
        _ = registry.model_class("transitions")().items


@pytest.mark.parametrize("name", [name for name in registry.names() if registry.model_class(name).retrieves])
def test_a_saved_model_loads_by_name_and_answers_alike(name, tmp_path):
    """Through the registry, with histories, as `fit` and `recommend` do it."""
    from tastemaker import saved
    from tastemaker.testing import tiny_shop

    data = tiny_shop()
    members = {"member": [{"model": "popular"}, {"model": "item_knn"}]} if name == "blend" else {}
    lm = {"lm": {"model": tiny_models.causal(), "cache": False}} if "lm" in registry.model_class(name).takes else {}
    pipeline = registry.build({"stage": [{"model": name, "keep": 7, **members}], **lm}).fit(data)
    saved.save(tmp_path / "m", saved.SavedModel(pipeline, data.users, data.queries(), {"seed": 0}))
    loaded = saved.load(tmp_path / "m")
    assert registry.settings_of(loaded.pipeline) == registry.settings_of(pipeline)
    assert loaded.pipeline.stages[0].keep == 7
    before, after = (one.rank(loaded.histories, 9) for one in (pipeline, loaded.pipeline))
    assert before.items.tobytes() == after.items.tobytes()
    assert before.scores.tobytes() == after.scores.tobytes()


def test_an_edited_manifest_is_refused(tmp_path):
    import json

    from tastemaker import saved
    from tastemaker.errors import ArtifactError
    from tastemaker.testing import tiny_shop

    data = tiny_shop()
    pipeline = registry.build({"stage": [{"model": "transitions"}]}).fit(data)
    saved.save(tmp_path / "m", saved.SavedModel(pipeline, data.users, data.queries()))
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    manifest["model"]["stage"][0]["recency"] = 0.1
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="was edited"):
        saved.load(tmp_path / "m")
