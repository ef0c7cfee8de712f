from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.backbones import resolve
from clipwright.backbones.base import Backbone
from clipwright.core.errors import BackboneError
from clipwright.core.home import home
from clipwright.texts import encode_cached, features, text_features


def cached() -> list[Path]:
    return sorted((home() / "texts").rglob("*.safetensors"))


def test_rows_are_those_of_the_backbone(tiny: Backbone) -> None:
    found = text_features(tiny, ["red_circle", "seven"], ["a {}.", "the {}."])
    texts = ("a red circle.", "a seven.", "the red circle.", "the seven.")
    assert found.texts == texts
    assert found.classes.tolist() == [0, 1, 0, 1]
    assert set(found.kind) == {"template"}
    torch.testing.assert_close(found.x, tiny.texts(texts))
    assert found.classifier("raw_mean").shape == (2, tiny.dim)


def test_a_repeated_run_loads_no_weights(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    first = text_features(tiny, ["one", "two"])
    ref = resolve("tiny", device="cpu")

    def load() -> Backbone:
        raise BackboneError("loaded")

    monkeypatch.setattr(ref, "load", load)
    again = text_features(ref, ["two", "one"])
    assert torch.equal(again.x, first.x[[1, 0]])
    with pytest.raises(BackboneError, match="loaded"):
        text_features(ref, ["one", "three"])


def test_only_what_is_missing_is_encoded(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_cached(tiny, ["a", "b"])
    asked: list[list[str]] = []
    plain = tiny.texts

    def texts(batch: list[str]) -> torch.Tensor:
        asked.append(list(batch))
        return plain(batch)

    monkeypatch.setattr(tiny, "texts", texts)
    found = encode_cached(tiny, ["b", "c", "a", "c"])
    assert asked == [["c"]]
    torch.testing.assert_close(found, plain(["b", "c", "a", "c"]))
    assert len(cached()) == 2


def test_a_run_that_is_killed_keeps_what_it_encoded(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_KEPT_AT_A_TIME", 2)
    plain, asked = tiny.texts, []

    def texts(batch: list[str]) -> torch.Tensor:
        asked.append(list(batch))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return plain(batch)

    monkeypatch.setattr(tiny, "texts", texts)
    wanted = ["a", "b", "c", "d", "e"]
    with pytest.raises(KeyboardInterrupt):
        encode_cached(tiny, wanted)
    found = encode_cached(tiny, wanted)
    assert asked == [["a", "b"], ["c", "d"], ["c", "d"], ["e"]]
    torch.testing.assert_close(found, plain(wanted))


def test_damaged_files_are_passed_over(tiny: Backbone) -> None:
    first = encode_cached(tiny, ["a", "b"])
    (path,) = cached()
    path.write_bytes(path.read_bytes()[:40])
    assert torch.equal(encode_cached(tiny, ["a", "b"]), first)
    assert torch.equal(encode_cached(tiny, ["b"]), first[1:])


def test_features_of_different_digests_never_mix(tiny: Backbone) -> None:
    encode_cached(tiny, ["a"])
    with pytest.warns(UserWarning, match="digits"):
        half = encode_cached(resolve("tiny", device="cpu", dtype="bf16"), ["a"])
    assert not torch.equal(half, encode_cached(tiny, ["a"]))
    assert len({path.parent for path in cached()}) == 2


def test_a_cache_that_cant_be_written_is_no_error(tiny: Backbone) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "texts").write_text("in the way")
    assert encode_cached(tiny, ["a"]).shape == (1, tiny.dim)


def test_nothing_gives_nothing(tiny: Backbone) -> None:
    assert encode_cached(tiny, []).shape == (0, tiny.dim)
