from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clipwright.backbones import digests
from clipwright.backbones.digests import decoder, features_digest, file_digest
from clipwright.backbones.preprocess import Preprocess
from clipwright.core.errors import BackboneError
from clipwright.core.hashing import digest_file
from clipwright.core.home import home

PREPROCESS = Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"some weights")
    return path


def test_a_file_is_hashed_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def counted(path: Path) -> str:
        calls.append(path)
        return digest_file(path)

    monkeypatch.setattr(digests, "digest_file", counted)
    wanted = digest_file(weights)
    assert [file_digest(weights) for _ in range(3)] == [wanted] * 3
    assert len(calls) == 1
    link = weights.with_name("link.safetensors")
    link.symlink_to(weights)
    assert file_digest(link) == wanted
    assert len(calls) == 1  # a link is the file it points at


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_hashed_again(weights: Path, change: str) -> None:
    first = file_digest(weights)
    stat = weights.stat()
    weights.write_bytes(b"some weightz" if change == "time" else b"more weights than before")
    stamp = stat.st_mtime_ns + (1 if change == "time" else 0)
    os.utime(weights, ns=(stamp, stamp))
    assert file_digest(weights) == digest_file(weights) != first


@pytest.mark.parametrize("content", ["{", "[]", '{"/x": 3}', ""])
def test_a_damaged_cache_is_ignored(weights: Path, content: str) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "digests.json").write_text(content)
    assert file_digest(weights) == digest_file(weights)
    assert str(weights) in json.loads((home() / "digests.json").read_text())


def test_a_cache_that_cant_be_written_is_no_error(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "file"))
    assert file_digest(weights) == digest_file(weights)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        BackboneError, match=r"nowhere\.pt can't be read \(No such file or directory\): check its name\.$"
    ):
        file_digest(tmp_path / "nowhere.pt")


def test_everything_that_features_depend_on_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    base = features_digest({"weights": "a"}, {"quick_gelu": True}, PREPROCESS, "fp32")
    squash = Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), mode="squash")
    others = [
        features_digest({"weights": "b"}, {"quick_gelu": True}, PREPROCESS, "fp32"),
        features_digest({"weights": "a"}, {"quick_gelu": False}, PREPROCESS, "fp32"),
        features_digest({"weights": "a"}, {"quick_gelu": True}, squash, "fp32"),
        features_digest({"weights": "a"}, {"quick_gelu": True}, PREPROCESS, "bf16"),
    ]
    assert set(decoder()) in ({"pillow", "libjpeg-turbo"}, {"pillow", "libjpeg"})
    monkeypatch.setattr(digests, "decoder", lambda: {**decoder(), "pillow": "0.1"})
    others.append(features_digest({"weights": "a"}, {"quick_gelu": True}, PREPROCESS, "fp32"))
    assert len({base, *others}) == 6
