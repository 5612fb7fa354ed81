"""`tastemaker attack` of a configuration, which is fitted first, and of a saved model, which is not."""

from __future__ import annotations

FEW = ("--items", 3, "--users", 4, "--per-kind", 1, "--kind", "keyword stuffing", "--json")


def test_a_configuration_and_a_saved_model_of_it_are_attacked_alike(tastemaker, refused, shop, tmp_path):
    fitted = tastemaker("attack", "text_knn", "--data", shop, *FEW)
    assert fitted.code == 0, fitted.err
    found = fitted.json()
    assert found["config"]["stage"][0]["model"] == "text_knn"
    assert [one["kind"] for one in found["kinds"]] == ["keyword stuffing"]
    assert tastemaker("fit", "text_knn", "--data", shop, "--out", tmp_path / "m").code == 0
    saved = tastemaker("attack", tmp_path / "m", "--data", shop, *FEW).json()
    assert saved["config"] == found["config"]
    assert saved["kinds"][0]["attacks"] == found["kinds"][0]["attacks"]
    words = ("attack", tmp_path / "m", "--data", shop, *FEW)
    assert "a saved model keeps its settings" in refused(*words, "--set", "stage.0.recency=0.5")
    assert "device 'cuda:9': not on this machine" in refused(*words, "--device", "cuda:9")
