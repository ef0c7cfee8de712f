import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors import safe_open

from clipwright.assets import datasets, tiny
from clipwright.core.errors import BackboneError


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any, tiny.PreprocessConfig]:
    return tiny.load()


def _pixels(images: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)


def test_known_answers(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    model, tokenizer, _ = loaded
    known = json.loads(tiny.files().known_answers.read_text(encoding="utf-8"))
    y, x, channel = np.indices((32, 32, 3))
    ramp = ((8 * x + y + 40 * channel) % 256).astype(np.uint8)
    images = _pixels(np.stack([ramp, 255 - ramp]))
    tokens = tokenizer(known["texts"])
    assert tokens.tolist() == known["tokens"]
    with torch.inference_mode():
        found = {
            "pre_projection": model.visual.trunk(images),
            "image_features": model.encode_image(images),
            "text_features": model.encode_text(tokens),
        }
    for name, features in found.items():
        for row, answer in zip(features, known[name], strict=True):
            assert row[:8].tolist() == pytest.approx(answer["first"], abs=known["tolerance"] * answer["norm"])
            assert row.norm().item() == pytest.approx(answer["norm"], rel=known["tolerance"])
    assert model.logit_scale.exp().item() == pytest.approx(known["logit_scale"], rel=1e-5)


def test_open_clip_loads_the_folder_itself(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    tiny.register()
    tiny.register()
    model = open_clip.create_model(f"local-dir:{tiny.files().folder}").eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.encode_image(images), loaded[0].encode_image(images))
    assert isinstance(model, open_clip.CLIP)


def test_form(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    model, tokenizer, preprocess = loaded
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert tokenizer.vocab_size == tiny.VOCABULARY == model.vocab_size
    assert tokenizer(["x " * 99]).shape == (1, tiny.CONTEXT_LENGTH)
    assert preprocess["size"] == 32
    assert preprocess["mean"] == preprocess["std"] == (0.5, 0.5, 0.5)
    assert model.visual.trunk(torch.zeros(2, 3, 32, 32)).shape == (2, 256)
    assert model.visual.head.proj.weight.shape == (128, 256)
    assert model.attn_mask is not None  # causal, so sequences may be cut at the end of text


def test_files_are_small_and_half_precision() -> None:
    found = tiny.files()
    assert sum(path.stat().st_size for path in found.folder.iterdir() if path.is_file()) < 8_000_000
    with safe_open(found.weights, framework="pt") as file:
        dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118  # a file, not a dict
    assert dtypes == {torch.float16, torch.int64}
    assert found.card.read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        *(("digits", 0.55, 0.85), ("digits-print", 0.8, 1.0), ("letters", 0.75, 0.95), ("shapes", 0.85, 0.97)),
        *(("shapes-sketch", 0.45, 0.75), ("shapes-stipple", 0.45, 0.75), ("shapes-colour", 0.8, 0.97)),
    ],
)
def test_names_alone_classify_the_development_part_and_leave_room(
    loaded: tuple[Any, Any, tiny.PreprocessConfig], name: str, least: float, most: float
) -> None:
    model, tokenizer, _ = loaded
    data = datasets.load(name)
    rows = data.rows("train")
    with torch.inference_mode():
        image = model.encode_image(_pixels(data.images[rows]), normalize=True)
        text = model.encode_text(tokenizer([data.templates[0].format(c) for c in data.class_names]), normalize=True)
    predicted = (image @ text.T).argmax(1).numpy()
    assert least <= (predicted == data.labels[rows]).mean() <= most


def test_missing_and_damaged_files_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tiny.files()
    monkeypatch.setattr(tiny, "_resources", lambda _: tmp_path)
    with pytest.raises(BackboneError, match="open_clip_model"):
        tiny.files()
    for path in (original.config, original.merges):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / original.weights.name).write_bytes(original.weights.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="damaged"):
        tiny.load()


def test_image_tower_refuses_what_it_cannot_be() -> None:
    from clipwright.assets.tiny.architecture import TinyCNN, clipwright_tiny_cnn

    with pytest.raises(ValueError, match="load the whole CLIP"):
        clipwright_tiny_cnn(pretrained=True)
    with pytest.raises(ValueError, match="mean-pooled"):
        TinyCNN().reset_classifier(10)
