from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.backbones.conftest import TEXTS, library_input, pixels_for

from clipwright.backbones import resolve, save_backbone
from clipwright.backbones.loaded import TowerBackbone
from clipwright.core.errors import BackboneError, UsageError

transformers: Any = pytest.importorskip("transformers")
VISION = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "vocab_size": 514,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
}


def bytes_vocabulary() -> dict[str, int]:
    """CLIP's byte alphabet without merges: every letter is a token."""
    from open_clip.tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: i for i, word in enumerate(words)}


def make_clip(folder: Path, eos: int) -> Path:
    torch.manual_seed(5)
    text = {**TEXT, "bos_token_id": 512, "eos_token_id": eos, "pad_token_id": 513}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPTokenizer(vocab=bytes_vocabulary(), merges=[]).save_pretrained(folder)
    size, crop = {"shortest_edge": 36}, {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size=size, crop_size=crop).save_pretrained(folder)
    return folder


def make_siglip(folder: Path) -> Path:
    torch.manual_seed(6)
    config = transformers.SiglipConfig(text_config={**TEXT, "projection_size": 48}, vision_config=VISION)
    transformers.SiglipModel(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(vocab=bytes_vocabulary(), merges=[])
    tokenizer.save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "clip": lambda folder: make_clip(folder, 513),
    "clip with the old end token": lambda folder: make_clip(folder, 2),
    "siglip": make_siglip,
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("hf"))


def load(spec: str, **options: Any) -> TowerBackbone:
    backbone = resolve(spec, device="cpu", **options).load()
    assert isinstance(backbone, TowerBackbone)
    return backbone


def tensor(output: Any) -> torch.Tensor:
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return found


def test_features_are_the_librarys_own(folder: Path) -> None:
    backbone = load(f"hf:{folder}")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = pixels_for(backbone)
    length = TEXT["max_position_embeddings"]
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    siglip = model.config.model_type == "siglip"
    with torch.inference_mode():
        images = tensor(model.get_image_features(pixel_values=library_input(backbone, pixels)))
        texts = tensor(model.get_text_features(**({"input_ids": tokens["input_ids"]} if siglip else tokens)))
    found = backbone.images(pixels)
    torch.testing.assert_close(found.x, images, atol=1e-5, rtol=1e-5)
    with pytest.warns(UserWarning, match="1 of 4 texts are longer"):
        torch.testing.assert_close(backbone.texts(TEXTS), texts, atol=1e-5, rtol=1e-5)
    assert backbone.dim == images.shape[1]
    assert backbone.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert backbone.spec == f"hf:{folder}"
    if siglip:
        assert found.pre_projection is None
        assert backbone.projection is None
        assert backbone.preprocess.mode == "squash"
    else:
        assert found.pre_projection is not None
        assert backbone.projection is not None
        torch.testing.assert_close(found.pre_projection @ backbone.projection, found.x, atol=1e-5, rtol=1e-5)
        assert backbone.preprocess.resize_to == 36


def test_copies_that_can_be_trained_give_the_same_features(folder: Path, photo: Image.Image) -> None:
    backbone = load(f"hf:{folder}")
    pixels = torch.from_numpy(backbone.pixels(photo))[None]
    images, texts = backbone.image_module().eval(), backbone.text_module().eval()
    torch.testing.assert_close(images(pixels).detach(), backbone.images(pixels).x, rtol=1e-5, atol=1e-5)
    found = texts(backbone.tokens(["a cat", "a dog"]))
    torch.testing.assert_close(found.detach(), backbone.texts(["a cat", "a dog"]), rtol=1e-4, atol=1e-5)
    (images(pixels).sum() + found.sum()).backward()
    assert all(any(p.grad is not None for p in module.parameters()) for module in (images, texts))
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_causal_towers_are_cut_and_siglip_is_left_whole(folder: Path) -> None:
    backbone = load(f"hf:{folder}")
    tower = backbone.text_tower
    lengths = tower.lengths(tower.tokenize(["dog", "a cat"]))
    if "siglip" in (folder / "config.json").read_text():
        assert lengths.tolist() == [40, 40]
    else:
        assert lengths.tolist() == [5, 6]  # start, letters, end


def test_the_logit_scale_does_not_depend_on_the_dtype(folder: Path) -> None:
    assert load(f"hf:{folder}", dtype="bf16").logit_scale == load(f"hf:{folder}").logit_scale


def test_saved_and_opened_again(folder: Path, tmp_path: Path) -> None:
    first = load(f"hf:{folder}")
    second = load(save_backbone(first, tmp_path))
    pixels = pixels_for(first)
    assert second.preprocess == first.preprocess
    assert second.spec == f"folder:{tmp_path}"
    torch.testing.assert_close(second.images(pixels).x, first.images(pixels).x, atol=0, rtol=0)
    torch.testing.assert_close(second.texts(["dog"]), first.texts(["dog"]), atol=0, rtol=0)


def test_digests_follow_every_file(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    digest = resolve(f"hf:{folder}", device="cpu").digest
    assert resolve(f"hf:{copy}", device="cpu").digest == digest  # where it lies doesn't matter
    assert resolve(f"hf:{copy}", device="cpu", dtype="bf16").digest != digest
    options = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**options, "resample": 2}))
    assert resolve(f"hf:{copy}", device="cpu").digest != digest
    (copy / "preprocessor_config.json").write_text(json.dumps({**options, "unused": 1}))
    assert resolve(f"hf:{copy}", device="cpu").digest == digest
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + " ")
    assert resolve(f"hf:{copy}", device="cpu").digest != digest


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="no pickled weights"):
        load(f"hf:{copy}")


def test_code_in_the_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": "evil.Tokenizer"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    load(f"hf:{copy}")
    assert not (tmp_path / "ran").exists()


def test_other_models_and_damaged_folders(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "siglip2"}))
    with pytest.raises(BackboneError, match="of type clip and siglip"):
        _ = resolve(f"hf:{copy}", device="cpu").digest
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BackboneError, match="can't be loaded"):
        load(f"hf:{copy}")
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(BackboneError, match=r"has no preprocessor_config\.json"):
        _ = resolve(f"hf:{copy}", device="cpu").digest
    with pytest.raises(BackboneError, match="there is no folder"):
        _ = resolve(f"hf:{tmp_path / 'nowhere'}", device="cpu").digest


def test_hub_names_must_be_pinned() -> None:
    with pytest.raises(UsageError, match="is not pinned"):
        resolve("hf:google/siglip2-base-patch16-224", device="cpu")
    with pytest.raises(UsageError, match="is no repository"):
        resolve("hf:siglip", device="cpu")


def test_a_pinned_snapshot_in_the_cache_needs_no_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--me--model" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ref = resolve(f"hf:me/model@{commit}", device="cpu")
    assert ref.digest == resolve(f"hf:{folder}", device="cpu").digest
    with pytest.raises(BackboneError, match=r"can't be downloaded \(HF_HUB_OFFLINE .*\): copy the repository's files"):
        _ = resolve("hf:me/other@main", device="cpu").digest
