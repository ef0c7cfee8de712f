from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from clipwright.backbones import BackboneRef, resolve
from clipwright.backbones.base import Backbone
from clipwright.backbones.references import ModelRef

Saved = Callable[[str], tuple[Any, Path]]


def test_a_reference_looks_for_nothing_until_it_is_asked() -> None:
    ref = resolve("openclip:ViT-B-32@/nowhere/x.safetensors", device="cpu", dtype="bf16")
    assert isinstance(ref, BackboneRef)
    assert isinstance(ref, ModelRef)
    assert ref.spec == "openclip:ViT-B-32@/nowhere/x.safetensors"
    assert (ref.device, ref.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert ref.preprocess.size == (224, 224)  # known from the architecture alone


def test_threads_share_one_model(save_weights: Saved) -> None:
    ref = resolve(f"openclip:small-vit@{save_weights('small-vit')[1]}", device="cpu")
    with ThreadPoolExecutor(4) as pool:
        loaded: list[Backbone] = list(pool.map(lambda _: ref.load(), range(4)))
    assert len({id(backbone) for backbone in loaded}) == 1


def test_the_description_is_json_and_says_what_made_the_features(save_weights: Saved) -> None:
    ref = resolve(f"openclip:small-vit@{save_weights('small-vit')[1]}", device="cpu")
    told = json.loads(json.dumps(ref.describe()))
    assert told["spec"] == ref.spec
    assert told["digest"] == ref.digest
    assert told["dtype"] == "fp32"
    assert told["preprocess"]["size"] == [32, 32]
    assert "pillow" in told["decoder"]


def test_where_the_weights_lie_is_not_in_the_digest(save_weights: Saved, tmp_path: Path) -> None:
    _, path = save_weights("small-vit")
    copy = tmp_path / "other name.safetensors"
    copy.write_bytes(path.read_bytes())
    one, two = (resolve(f"openclip:small-vit@{p}", device="cpu") for p in (path, copy))
    assert one.digest == two.digest
    copy.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert resolve(f"openclip:small-vit@{copy}", device="cpu").digest != one.digest
