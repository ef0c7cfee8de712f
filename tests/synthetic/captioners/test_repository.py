from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import BackboneError, UsageError
from clipwright.synthetic.captioners.repository import model_config, model_folder, repository_name

COMMIT = "0" * 39 + "1"


def test_names(tmp_path: Path) -> None:
    assert repository_name(str(tmp_path), None) == tmp_path.name
    assert repository_name("me/model", COMMIT) == f"me/model@{COMMIT}"
    for source, revision in (("me/model", None), ("a/b/c", "main"), ("~/nothing", "main"), (str(tmp_path), "main")):
        with pytest.raises(UsageError):
            repository_name(source, revision)


def test_a_pinned_snapshot_in_the_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    snapshot = tmp_path / "models--me--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    (snapshot / "config.json").write_text('{"model_type": "llava"}')
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert model_folder("me/model", COMMIT) == snapshot
    assert model_config(snapshot) == {"model_type": "llava"}
    with pytest.raises(BackboneError, match=r"can't be downloaded \(HF_HUB_OFFLINE .*\): copy the repository's files"):
        model_folder("me/other", COMMIT)
