"""timm's image models: tiny ones with random weights, saved here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.timm_images import (
    TimmRef,
    cached_weights,
    has_texts,
    models,
    read_preprocess,
)
from clipwright.backbones.tuned import TunedRef
from clipwright.core.errors import BackboneError, NeedsError
from clipwright.task import Access, TowerUpdate

timm = pytest.importorskip("timm")


def saved(path: Path, name: str = "test_vit", **options: object) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = timm.create_model(name, pretrained=False, **options).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "model.safetensors")


def picture(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_features_are_those_of_timm(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "model.safetensors", name)
    backbone = resolve(f"timm:{name}@{path}", device="cpu").load()
    model = timm.create_model(name, pretrained=False, num_classes=0)
    model.load_state_dict({k: v for k, v in load_file(path).items() if k in model.state_dict()})
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    images = [picture((211, 173)), picture((173, 320)), picture((160, 160))]
    pixels = torch.from_numpy(np.stack([backbone.preprocess.clean(image) for image in images]))
    with torch.inference_mode():
        wanted = model.eval()(torch.stack([transform(image) for image in images]))
    found = backbone.images(pixels)
    torch.testing.assert_close(found.x, wanted, rtol=1e-4, atol=1e-5)
    assert found.pre_projection is None
    assert backbone.dim == wanted.shape[1]
    assert backbone.access == {Access.WEIGHTS, Access.FEATURES}


@pytest.mark.parametrize(
    ("size", "share", "mode", "interpolation"),
    [
        (224, 0.875, "center", "bicubic"),
        (224, 0.95, "center", "bilinear"),
        (256, 1.0, "center", "bicubic"),
        (96, 1.0, "squash", "bicubic"),
    ],
)
def test_pixels_are_those_of_timms_transform(size: int, share: float, mode: str, interpolation: str) -> None:
    wanted = {"input_size": (3, size, size), "crop_pct": share, "crop_mode": mode, "interpolation": interpolation}
    preprocess = read_preprocess({**wanted, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)})
    transform = timm.data.create_transform(**wanted, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), is_training=False)
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for shape in ((301, 233), (120, 457), (size, size), (64, 63)):
        image = picture(shape)
        np.testing.assert_array_equal(preprocess.clean(image), (transform(image) * 255).round().byte().numpy())


@pytest.mark.parametrize(
    "more", [{"crop_mode": "border"}, {"crop_mode": "squash", "crop_pct": 0.9}, {"input_size": (1, 8, 8)}]
)
def test_other_preparations_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(BackboneError, match="wants its images in a way that clipwright can't prepare"):
        read_preprocess({"input_size": (3, 224, 224), "crop_pct": 1.0, **more})


def test_texts_are_refused_with_what_to_do(weights: Path) -> None:
    ref = resolve(f"timm:test_vit@{weights}", device="cpu")
    assert not has_texts(ref)
    assert has_texts(resolve("tiny", device="cpu"))
    backbone = ref.load()
    assert isinstance(backbone, TowerBackbone)
    for ask in (backbone.texts, backbone.tokens):
        with pytest.raises(NeedsError, match="has no text tower: name it as the second backbone"):
            ask(["a photo of a cat."])
    with pytest.raises(NeedsError, match="has no text tower"):
        backbone.text_module()
    with pytest.raises(NeedsError, match="takes no soft prompts"):
        backbone.soft_prompts(["cat"])


def test_digests_follow_weights_and_model(tmp_path: Path, weights: Path) -> None:
    other = saved(tmp_path / "other.safetensors", num_classes=7)
    first, second = (resolve(f"timm:test_vit@{path}", device="cpu") for path in (weights, other))
    assert len(first.digest) == 64
    assert first.digest != second.digest
    assert first.describe()["spec"] == f"timm:test_vit@{weights}"
    assert second.load().dim == first.load().dim
    assert first.load() is first.load()


def test_every_tensor_must_be_there(tmp_path: Path, weights: Path) -> None:
    other = saved(tmp_path / "resnet.safetensors", "test_resnet")
    with pytest.raises(BackboneError, match="can't be loaded as timm:test_vit"):
        resolve(f"timm:test_vit@{other}", device="cpu").load()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="check that the file is whole"):
        resolve(f"timm:test_vit@{broken}", device="cpu").load()
    with pytest.raises(BackboneError, match="can't be read"):
        _ = resolve(f"timm:test_vit@{tmp_path / 'none.safetensors'}", device="cpu").digest


def test_its_tower_can_be_trained_and_changed(weights: Path) -> None:
    ref = resolve(f"timm:test_vit@{weights}", device="cpu")
    backbone = ref.load()
    assert isinstance(backbone, TowerBackbone)
    pixels = torch.from_numpy(backbone.preprocess.clean(picture((200, 180))))[None]
    module = backbone.image_module().eval()
    features = module(pixels)
    torch.testing.assert_close(features.detach(), backbone.images(pixels).x, rtol=1e-4, atol=1e-5)
    features.sum().backward()
    name, tensor = next(iter(module.state_dict().items()))
    tuned = TunedRef(ref, TowerUpdate(ref.spec, ref.digest, {name: tensor + 1}))
    assert not has_texts(tuned)
    assert not torch.allclose(tuned.load().images(pixels).x, backbone.images(pixels).x)


def test_what_timm_does_not_have_is_one_sentence() -> None:
    with pytest.raises(BackboneError, match="timm has no model 'nonsense'"):
        _ = resolve("timm:nonsense", device="cpu").preprocess
    with pytest.raises(BackboneError, match="knows no weights 'nonsense' for test_vit: choose one of r160_in1k"):
        _ = resolve("timm:test_vit.nonsense", device="cpu").preprocess


def test_published_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ref = resolve("timm:test_vit", device="cpu")
    assert isinstance(ref, TimmRef)
    with pytest.raises(BackboneError, match="not on this machine and can't be downloaded"):
        _ = ref.digest
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--timm--test_vit.r160_in1k"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    here = repository / "snapshots" / commit / "model.safetensors"
    here.write_bytes(weights.read_bytes())
    assert cached_weights(ref.published) == here
    assert ref.load().dim == 64
    assert ("timm:test_vit.r160_in1k", True) in models("timm:test_vit")
