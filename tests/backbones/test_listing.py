from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clipwright.backbones import DEFAULT, list_backbones, openclip_tables, openclip_weights, resolve
from clipwright.core.errors import BackboneError


def test_everything_that_open_clip_lists_and_the_embedded_model() -> None:
    import open_clip

    rows = list_backbones()
    specs = {row.spec for row in rows}
    published = {f"openclip:{a}@{t}" for a, t in open_clip.list_pretrained()}
    assert specs == published | {"tiny"}
    assert set(openclip_tables.architectures()) <= set(open_clip.list_models())
    assert rows[0].spec == DEFAULT
    assert rows[0].note == "default"
    assert next(row for row in rows if row.spec == "tiny").available


def test_some_of_them() -> None:
    assert {row.spec.split("@")[1] for row in list_backbones("vit-b-16@open")} == {"openai"}
    assert list_backbones("nothing like it") == []


def test_timms_models_are_listed_where_they_are_asked_for() -> None:
    rows = list_backbones("timm:resnet50.a1")
    assert "timm:resnet50.a1_in1k" in {row.spec for row in rows}
    assert all(row.spec.startswith("timm:resnet50.a1") and row.note == "images alone" for row in rows)


def test_what_is_in_the_cache_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    weights = repository / "snapshots" / commit / "open_clip_model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert openclip_weights.find_weights(openclip_tables.tag_config("ViT-B-16", "openai")) == weights
    assert next(row.spec for row in list_backbones("@openai") if row.available) == DEFAULT
    assert len(resolve(device="cpu").digest) == 64  # found without a network and without building the model


def test_openais_own_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    path = tmp_path / ".cache" / "clip" / "ViT-B-16.pt"
    path.write_bytes(b"not what was published")
    assert openclip_weights.find_weights(openclip_tables.tag_config("ViT-B-16", "openai")) == path
    with pytest.raises(BackboneError, match="is damaged or not what was published: delete it"):
        _ = resolve(device="cpu").digest


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (DEFAULT, "openclip:ViT-B-16-quickgelu@/path/to/open_clip_model.safetensors"),
        ("openclip:ViT-B-32@laion2b_s34b_b79k", "openclip:ViT-B-32@/path/to/open_clip_model.safetensors"),
        ("openclip:ViT-B-16-SigLIP@webli", "openclip:ViT-B-16-SigLIP@/path/to/open_clip_model.safetensors"),
    ],
)
def test_missing_weights_are_one_sentence_with_a_way_out(
    spec: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HOME", str(tmp_path))
    for ask in (lambda: resolve(spec, device="cpu").digest, lambda: resolve(spec, device="cpu").load()):
        with pytest.raises(BackboneError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith(f"the weights of {spec} are not on this machine and can't be downloaded (HF_HUB_")
        assert "): get https://" in message
        assert message.endswith(f"name the file, as {hint}.")
        assert "\n" not in message


def test_an_unreachable_hub_is_noticed_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from clipwright.backbones.network import require_hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(BackboneError, match="can't be reached"):
        require_hub()


def test_preprocessing_alone_needs_no_torch() -> None:
    program = "import sys, clipwright.backbones.preprocess\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_listing_and_digests_leave_open_clip_alone(tmp_path: Path) -> None:
    weights = tmp_path / "x.safetensors"
    weights.write_bytes(b"x")
    program = (
        "import sys\n"
        "from clipwright.backbones import list_backbones, resolve\n"
        "list_backbones()\n"
        "resolve('tiny', device='cpu').digest\n"
        f"resolve({f'openclip:ViT-B-16-SigLIP@{weights}'!r}, device='cpu').digest\n"
        "assert not {'open_clip', 'transformers', 'timm', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
