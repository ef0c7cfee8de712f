"""Where a fit has got to: whole or absent, and only for the fit that it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.core.errors import FormatError
from clipwright.training.checkpoints import Checkpoint


def test_what_was_saved_last_comes_back(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "work" / "a.safetensors", "digest")
    assert kept.load() is None
    kept.save({"x": torch.arange(3.0)}, {"turns": 1})
    kept.save({"x": torch.arange(4, dtype=torch.float64)}, {"turns": 2, "losses": [0.5]})
    found = Checkpoint(kept.path, "digest").load()
    assert found is not None
    tensors, facts = found
    assert torch.equal(tensors["x"], torch.arange(4, dtype=torch.float64))
    assert facts == {"turns": 2, "losses": [0.5]}
    kept.clear()
    assert kept.load() is None


def test_the_state_of_another_fit_is_not_taken_up(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "a", "one").save({"x": torch.zeros(1)}, {})
    assert Checkpoint(tmp_path / "a", "two").load() is None


def test_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="damaged: remove it"):
        Checkpoint(path, "one").load()
    Checkpoint(path, "one").save({"x": torch.zeros(4)}, {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="damaged: remove it"):
        Checkpoint(path, "one").load()


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("clipwright.training.checkpoints.FORMAT", 2)
        Checkpoint(tmp_path / "a", "one").save({"x": torch.zeros(1)}, {})
    with pytest.raises(FormatError, match="newer clipwright"):
        Checkpoint(tmp_path / "a", "one").load()
