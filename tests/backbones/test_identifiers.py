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
