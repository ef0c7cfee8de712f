from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipwright.backbones import known_answers, resolve
from clipwright.backbones.known_answers import probe_image
from clipwright.core.errors import BackboneError
from clipwright.core.hashing import digest_json
from clipwright.core.home import home

Saved = Callable[[str], tuple[Any, Path]]


def test_the_probe_never_changes() -> None:
    pixels = np.asarray(probe_image())
    assert pixels.shape == (240, 320, 3)
    assert digest_json(pixels.ravel().tolist())[:16] == "f1a3a7a51d906b9c"


def test_first_use_records_and_later_loads_compare(save_weights: Saved) -> None:
    _, path = save_weights("small-vit")
    spec = f"openclip:small-vit@{path}"
    ref = resolve(spec, device="cpu")
    ref.load()
    record = home() / "known_answers" / f"{ref.digest}.json"
    values = json.loads(record.read_text())
    assert values["purpose"] == "drift detection only"
    assert len(values["image"]) == 32
    assert len(values["texts"]) == len(values["text"]) == 3
    before = record.read_bytes()
    resolve(spec, device="cpu").load()
    assert record.read_bytes() == before


@pytest.mark.parametrize("part", ["image", "texts"])
def test_drift_is_an_error_that_says_what_to_do(save_weights: Saved, part: str) -> None:
    _, path = save_weights("small-vit")
    spec = f"openclip:small-vit@{path}"
    ref = resolve(spec, device="cpu")
    ref.load()
    record = home() / "known_answers" / f"{ref.digest}.json"
    values = json.loads(record.read_text())
    values[part] = (np.asarray(values[part]) * 1.01).tolist()
    record.write_text(json.dumps(values))
    with pytest.raises(BackboneError, match=r"no longer gives the features that it gave before .* after deleting"):
        resolve(spec, device="cpu").load()
    record.unlink()
    resolve(spec, device="cpu").load()


def test_a_damaged_record_is_made_again(save_weights: Saved) -> None:
    _, path = save_weights("small-vit")
    ref = resolve(f"openclip:small-vit@{path}", device="cpu")
    record = home() / "known_answers" / f"{ref.digest}.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"format": 1')
    ref.load()
    assert json.loads(record.read_text())["digest"] == ref.digest


@pytest.mark.filterwarnings("ignore:the embedded model")
@pytest.mark.parametrize("part", ["image_features", "text_features", "pre_projection"])
def test_shipped_answers_are_compared_and_never_written(part: str, tmp_path: Path) -> None:
    from clipwright.assets import tiny

    ref = resolve("tiny", device="cpu")
    backbone = ref.load()
    assert not (home() / "known_answers").exists()
    shipped = tmp_path / "answers.json"
    values = json.loads(tiny.files().known_answers.read_text())
    values[part][1]["first"][0] += 0.05 * values[part][1]["norm"]
    shipped.write_text(json.dumps(values))
    with pytest.raises(BackboneError, match="doesn't give the features that it was shipped with"):
        known_answers.check_shipped(backbone, shipped)
    del values[part]
    shipped.write_text(json.dumps(values))
    with pytest.raises(BackboneError, match="are damaged: reinstall"):
        known_answers.check_shipped(backbone, shipped)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_shipped_answers_hold_in_bf16() -> None:
    resolve("tiny", device="cpu", dtype="bf16").load()
