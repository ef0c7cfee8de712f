from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.backbones.identifiers import DEFAULT, Identifier, parse
from clipwright.core.errors import UsageError


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (DEFAULT, Identifier("openclip", "ViT-B-16", tag="openai")),
        ("openclip:ViT-B/16@openai", Identifier("openclip", "ViT-B-16", tag="openai")),
        ("openclip:RN50@/w/x.pt", Identifier("openclip", "RN50", path=Path("/w/x.pt"))),
        ("hf:google/siglip2-base@abc", Identifier("hf", "google/siglip2-base", tag="abc")),
        ("hf:/w/folder", Identifier("hf", path=Path("/w/folder"))),
        ("folder:/w/folder", Identifier("folder", path=Path("/w/folder"))),
        (" tiny ", Identifier("tiny")),
        ("timm:resnet50.a1_in1k", Identifier("timm", "resnet50", tag="a1_in1k")),
        ("timm:resnet50@a1_in1k", Identifier("timm", "resnet50", tag="a1_in1k")),
        ("timm:vit_small_patch16_dinov3", Identifier("timm", "vit_small_patch16_dinov3")),
        ("timm:resnet50@/w/x.safetensors", Identifier("timm", "resnet50", path=Path("/w/x.safetensors"))),
        ("endpoint:http://127.0.0.1:8000/", Identifier("endpoint", "http://127.0.0.1:8000")),
        ("endpoint:https://models.example/v1", Identifier("endpoint", "https://models.example/v1")),
    ],
)
def test_forms(spec: str, wanted: Identifier) -> None:
    assert parse(spec) == wanted
    assert parse(str(wanted)) == wanted


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("openclip:RN50@x.safetensors").path == tmp_path / "x.safetensors"
    assert parse("openclip:RN50@./deep/x.bin").path == tmp_path / "deep" / "x.bin"
    assert parse("folder:~/saved").path == tmp_path / "saved"
    assert parse("hf:./model").path == tmp_path / "model"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "ViT-B-32",
        "openclip:",
        "openclip:ViT-B-32",
        "openclip:@openai",
        "tiny:x",
        "hf:x",
        "hf:",
        "folder:",
        "http://x",
        "endpoint:",
        "endpoint:127.0.0.1:8000",
        "endpoint:http://",
        "timm:",
        "timm:hf-hub:someone/model",
        "timm:resnet50.a1_in1k@a2_in1k",
    ],
)
def test_everything_else_is_answered_with_the_forms(spec: str) -> None:
    with pytest.raises(UsageError, match="write "):
        parse(spec)


def test_weights_must_have_a_known_ending() -> None:
    with pytest.raises(UsageError, match="must end in"):
        parse("openclip:RN50@/w/x.pkl")


@given(st.text())
def test_any_text_is_parsed_or_refused(spec: str) -> None:
    try:
        found = parse(spec)
    except UsageError:
        return
    assert parse(str(found)) == found


def test_timm_models_come_from_safetensors_alone() -> None:
    with pytest.raises(UsageError, match=r"is no \.safetensors file"):
        parse("timm:resnet50@/w/x.pth")
