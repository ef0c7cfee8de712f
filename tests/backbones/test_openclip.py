from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.backbones.conftest import ARCHITECTURES, TEXTS, library_input, pixels_for

from clipwright.backbones import openclip_tables, resolve, save_backbone
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.openclip import OpenClipRef, is_torchscript
from clipwright.core.errors import BackboneError, DataError
from clipwright.core.hashing import digest_file
from clipwright.task import Access

Saved = Callable[[str], tuple[Any, Path]]
PROJECTION = {"small-vit": 64, "small-resnet": 512, "small-timm": 64, "small-custom-eos": 64, "small-coca": 32}


def load(spec: str, **options: Any) -> TowerBackbone:
    backbone = resolve(spec, device="cpu", **options).load()
    assert isinstance(backbone, TowerBackbone)
    return backbone


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_features_are_the_librarys_own(name: str, save_weights: Saved) -> None:
    model, path = save_weights(name)
    backbone = load(f"openclip:{name}@{path}")
    pixels = pixels_for(backbone)
    with torch.inference_mode():
        images = model.encode_image(library_input(backbone, pixels), normalize=False)
        texts = model.encode_text(backbone.tokenizer(TEXTS), normalize=False)
    found = backbone.images(pixels)
    torch.testing.assert_close(found.x, images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.texts(TEXTS), texts, atol=1e-5, rtol=1e-5)
    assert backbone.dim == found.x.shape[1] == ARCHITECTURES[name]["embed_dim"]
    assert backbone.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert Access.WEIGHTS in backbone.access
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_pre_projection_times_projection_is_the_feature(name: str, save_weights: Saved) -> None:
    _, path = save_weights(name)
    backbone = load(f"openclip:{name}@{path}")
    found = backbone.images(pixels_for(backbone))
    if name not in PROJECTION:
        assert found.pre_projection is None
        assert backbone.projection is None
        assert backbone.pre_projection_dim is None
        return
    assert found.pre_projection is not None
    assert backbone.projection is not None
    assert backbone.projection.shape == (PROJECTION[name], backbone.dim)
    assert backbone.pre_projection_dim == found.pre_projection.shape[1] == PROJECTION[name]
    again = found.pre_projection @ backbone.projection
    if name in {"small-resnet", "small-timm"}:
        assert backbone.projection_bias is not None
        again = again + backbone.projection_bias
    else:
        assert backbone.projection_bias is None
    torch.testing.assert_close(again, found.x, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_published_architectures_with_random_weights(name: str, save_weights: Saved) -> None:
    model, path = save_weights(name)
    backbone = load(f"openclip:{name}@{path}")
    pixels = pixels_for(backbone, rows=1)
    with torch.inference_mode():
        images = model.encode_image(library_input(backbone, pixels))
        texts = model.encode_text(backbone.tokenizer(TEXTS[:2]))
    torch.testing.assert_close(backbone.images(pixels).x, images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.texts(TEXTS[:2]), texts, atol=1e-5, rtol=1e-5)


def test_an_image_goes_through_as_open_clips_own_transform_takes_it(save_weights: Saved, photo: Image.Image) -> None:
    import open_clip

    model, path = save_weights("small-vit")
    _, _, transform = open_clip.create_model_and_transforms("small-vit", pretrained=str(path))
    backbone = load(f"openclip:small-vit@{path}")
    with torch.inference_mode():
        wanted = model.encode_image(transform(photo)[None])
    found = backbone.images(torch.from_numpy(backbone.preprocess.clean(photo))[None]).x
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_ordinary_checkpoints_of_the_library_load(save_weights: Saved, tmp_path: Path) -> None:
    model, path = save_weights("small-vit")
    checkpoint = tmp_path / "epoch_3.pt"
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, checkpoint)
    pixels = pixels_for(load(f"openclip:small-vit@{path}"))
    first = load(f"openclip:small-vit@{path}").images(pixels).x
    torch.testing.assert_close(load(f"openclip:small-vit@{checkpoint}").images(pixels).x, first)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil-was-here"),))


def test_a_checkpoint_that_carries_code_is_not_run(
    small_architectures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Evil()}, tmp_path / "bad.pt")
    with pytest.raises(BackboneError, match="can't be loaded"):
        load(f"openclip:small-vit@{tmp_path / 'bad.pt'}")
    assert not (tmp_path / "evil-was-here").exists()


@pytest.fixture
def archive(small_architectures: None, tmp_path: Path) -> tuple[Any, Path]:
    """A TorchScript archive as OpenAI published them: half precision, QuickGELU; and the model it holds."""
    import open_clip
    from open_clip.model import convert_weights_to_fp16

    torch.manual_seed(3)
    config = openclip_tables.model_config("small-vit")
    model = open_clip.CLIP(**{**config, "quick_gelu": True}).eval()
    convert_weights_to_fp16(model)
    path = tmp_path / "small.pt"
    mask = model._buffers.pop("attn_mask")  # OpenAI's archives have it as a plain attribute, not as a weight
    model.attn_mask = mask
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(model).save(str(path))
    return model.float(), path


def publish(monkeypatch: pytest.MonkeyPatch, path: Path, name: str) -> None:
    table = {digest_file(path): ((name, "openai"),)}
    monkeypatch.setattr(openclip_tables, "published_archives", lambda: table)


def test_openai_archives_load_once_their_digest_is_a_published_one(
    archive: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = archive
    assert is_torchscript(path)
    publish(monkeypatch, path, "small-vit")
    backbone = load(f"openclip:small-vit@{path}")
    pixels = pixels_for(backbone)
    with torch.inference_mode():
        wanted = model.encode_image(library_input(backbone, pixels))
        texts = model.encode_text(backbone.tokenizer(TEXTS))
    torch.testing.assert_close(backbone.images(pixels).x, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.texts(TEXTS), texts, atol=1e-5, rtol=1e-5)
    assert backbone.config["quick_gelu"] is True


def test_an_archive_that_nobody_published_is_refused_before_it_is_opened(
    archive: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = archive

    def opened(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.jit, "load", opened)
    with pytest.raises(BackboneError, match="none that OpenAI published"):
        load(f"openclip:small-vit@{path}")


def test_one_changed_byte_is_noticed(archive: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = archive
    publish(monkeypatch, path, "small-vit")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackboneError, match="SHA-256"):
        _ = resolve(f"openclip:small-vit@{path}", device="cpu").digest


def test_an_archive_of_another_architecture_is_named(
    archive: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = archive
    publish(monkeypatch, path, "ViT-L-14")
    with pytest.raises(BackboneError, match=r"holds ViT-L-14, not small-vit: write openclip:ViT-L-14@"):
        load(f"openclip:small-vit@{path}")


def test_the_librarys_ordinary_path_refuses_such_archives(archive: tuple[Any, Path]) -> None:
    import open_clip

    _, path = archive
    with pytest.raises(RuntimeError, match="TorchScript"):
        open_clip.create_model("small-vit", pretrained=str(path))


def test_openai_tags_force_quick_gelu(save_weights: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipwright.backbones import openclip

    model, path = save_weights("small-vit")
    monkeypatch.setattr(openclip_tables, "tag_config", lambda *_: {"hf_hub": "nobody/nothing/"})
    monkeypatch.setattr(openclip, "get_weights", lambda *_: path)
    forced, plain = load("openclip:small-vit@openai"), load(f"openclip:small-vit@{path}")
    pixels = pixels_for(plain)
    assert forced.config["quick_gelu"] is True
    assert forced.digest != plain.digest
    assert not torch.allclose(forced.images(pixels).x, plain.images(pixels).x, atol=1e-4)
    with torch.inference_mode():
        assert torch.allclose(plain.images(pixels).x, model.encode_image(library_input(plain, pixels)), atol=1e-5)
    assert any(type(layer).__name__ == "QuickGELU" for layer in forced.model.modules())


def test_every_published_tag_is_understood_without_its_weights() -> None:
    pairs = [(a, t) for a in openclip_tables.architectures() for t in openclip_tables.tags(a)]
    assert len(pairs) > 150
    for architecture, tag in pairs:
        ref = resolve(f"openclip:{architecture}@{tag}", device="cpu")
        assert isinstance(ref, OpenClipRef)
        config = openclip_tables.tag_config(architecture, tag)
        assert ref.config().get("quick_gelu", False) or not (config.get("quick_gelu") or tag == "openai")
        assert tuple(ref.preprocess.mean) == tuple(config["mean"])
        assert min(ref.preprocess.size) >= 112


def test_a_local_file_takes_the_preprocessing_that_all_tags_agree_on(tmp_path: Path) -> None:
    ref = resolve(f"openclip:ViT-B-16-SigLIP@{tmp_path / 'x.safetensors'}", device="cpu")
    assert ref.preprocess.mode == "squash"
    assert ref.preprocess.mean == (0.5, 0.5, 0.5)
    ref = resolve(f"openclip:ViT-L-14@{tmp_path / 'x.safetensors'}", device="cpu")
    assert ref.preprocess.mean == openclip_tables.OPENAI_MEAN


def test_unknown_names_are_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="choose one of openai, laion400m_e31"):
        _ = resolve("openclip:ViT-B-32@nonsense", device="cpu").digest
    with pytest.raises(BackboneError, match="did you mean ViT-B-32"):
        _ = resolve("openclip:vit-b-32@openai", device="cpu").digest
    with pytest.raises(BackboneError, match="no architecture"):
        _ = resolve(f"openclip:Nothing@{tmp_path / 'x.pt'}", device="cpu").preprocess
    with pytest.raises(BackboneError, match=r"can't be read \(No such file"):
        _ = resolve(f"openclip:ViT-B-32@{tmp_path / 'x.pt'}", device="cpu").digest


def test_weights_of_another_architecture_or_damaged_ones(save_weights: Saved, tmp_path: Path) -> None:
    _, path = save_weights("small-resnet")
    with pytest.raises(BackboneError, match="of this architecture"):
        load(f"openclip:small-vit@{path}")
    short = tmp_path / "short.safetensors"
    short.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="check that the file is whole"):
        load(f"openclip:small-resnet@{short}")


@pytest.mark.parametrize("name", ["small-vit", "small-resnet", "small-timm", "small-whole"])
def test_save_and_folder_give_the_same_features(name: str, save_weights: Saved, tmp_path: Path) -> None:
    _, path = save_weights(name)
    first = load(f"openclip:{name}@{path}")
    spec = save_backbone(first, tmp_path / "saved")
    assert spec == f"folder:{tmp_path / 'saved'}"
    moved = shutil.move(tmp_path / "saved", tmp_path / "elsewhere")
    second = load(f"folder:{moved}")
    pixels = pixels_for(first)
    assert second.preprocess == first.preprocess
    torch.testing.assert_close(second.images(pixels).x, first.images(pixels).x, atol=0, rtol=0)
    torch.testing.assert_close(second.texts(TEXTS), first.texts(TEXTS), atol=0, rtol=0)
    assert not [p for p in Path(moved).iterdir() if p.suffix in {".pt", ".bin", ".pkl"}]


def test_folders_that_are_no_backbones(save_weights: Saved, tmp_path: Path) -> None:
    from clipwright.core.errors import FormatError

    with pytest.raises(BackboneError, match="no saved backbone"):
        load(f"folder:{tmp_path}")
    _, path = save_weights("small-vit")
    save_backbone(load(f"openclip:small-vit@{path}"), tmp_path)
    (tmp_path / "clipwright_backbone.json").write_text('{"format": 99, "library": "open_clip"}')
    with pytest.raises(FormatError, match="newer clipwright"):
        resolve(f"folder:{tmp_path}", device="cpu")
    (tmp_path / "clipwright_backbone.json").unlink()
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(BackboneError, match="damaged"):
        load(f"folder:{tmp_path}")


def test_pixels_of_another_shape_are_refused(save_weights: Saved) -> None:
    _, path = save_weights("small-vit")
    backbone = load(f"openclip:small-vit@{path}")
    for bad in (torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)):
        with pytest.raises(DataError, match="must be uint8"):
            backbone.images(bad)
    assert backbone.images(torch.zeros(0, 3, 32, 32, dtype=torch.uint8)).x.shape == (0, 32)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_bf16_is_close_and_has_its_own_digest(name: str, save_weights: Saved) -> None:
    _, path = save_weights(name)
    full, half = load(f"openclip:{name}@{path}"), load(f"openclip:{name}@{path}", dtype="bf16")
    pixels = pixels_for(full)
    found = half.images(pixels)
    assert half.dtype == torch.bfloat16
    assert found.x.dtype == torch.float32
    assert full.digest != half.digest
    a, b = full.images(pixels).x, found.x
    assert float((a - b).norm() / a.norm()) < 0.03
    a, b = full.texts(TEXTS), half.texts(TEXTS)
    assert b.dtype == torch.float32
    assert float((a - b).norm() / a.norm()) < 0.03


def test_loading_leaves_random_state_and_logging_alone(save_weights: Saved) -> None:
    import logging

    _, path = save_weights("small-vit")
    torch.manual_seed(11)
    before, handlers = torch.get_rng_state(), list(logging.getLogger().handlers)
    load(f"openclip:small-vit@{path}")
    assert torch.equal(before, torch.get_rng_state())
    assert logging.getLogger().handlers == handlers


def test_loading_twice_gives_the_same_object(save_weights: Saved) -> None:
    _, path = save_weights("small-vit")
    ref = resolve(f"openclip:small-vit@{path}", device="cpu")
    assert ref.load() is ref.load()
    description = ref.describe()
    assert description["digest"] == ref.digest == ref.load().digest
    assert description["files"] == {"weights": digest_file(path)}


def test_tiny_is_an_ordinary_open_clip_model_with_a_warning(tmp_path: Path, photo: Image.Image) -> None:
    from clipwright.assets import tiny

    ref = resolve("tiny", device="cpu")
    with pytest.warns(UserWarning, match="only digits, letters and shapes"):
        backbone = ref.load()
    assert isinstance(backbone, TowerBackbone)
    model, tokenizer, _ = tiny.load()
    pixels = torch.from_numpy(np.stack([backbone.preprocess.clean(photo)]))
    texts = ["the digit seven", "a red circle"]
    with torch.inference_mode():
        images: Any = model.encode_image(library_input(backbone, pixels))
        words: Any = model.encode_text(tokenizer(texts))
    found = backbone.images(pixels)
    torch.testing.assert_close(found.x, images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.texts(texts), words, atol=1e-5, rtol=1e-5)
    assert found.pre_projection is not None
    assert backbone.spec == "tiny"
    again = load(save_backbone(backbone, tmp_path / "copy"))
    torch.testing.assert_close(again.texts(texts), backbone.texts(texts), atol=0, rtol=0)
