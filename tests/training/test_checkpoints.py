"""Where a fit has got to: whole or absent, and only for the fit that it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from clipwright.core.errors import FormatError, UsageError
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


def turns(kept: Checkpoint) -> int | None:
    found = kept.load()
    return None if found is None else int(found[1]["turns"])


def test_a_damaged_file_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoint(tmp_path / "a.safetensors", "one", keep=3)
    for turn in range(5):
        kept.save({"x": torch.full((4,), turn)}, {"turns": turn})
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["a.safetensors", "a.safetensors.1", "a.safetensors.2"]
    assert turns(kept) == 4
    assert not caplog.records
    os.truncate(kept.path, 50)
    assert turns(Checkpoint(kept.path, "one", keep=3)) == 3
    assert "goes on from" in caplog.text
    (tmp_path / "a.safetensors.1").write_bytes(b"")
    assert turns(kept) == 2
    (tmp_path / "a.safetensors.2").unlink()
    with pytest.raises(FormatError, match=r"a\.safetensors is damaged: remove it"):
        kept.load()
    kept.clear()
    assert not list(tmp_path.iterdir())


def test_a_kill_between_two_files_leaves_the_one_before(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "a", "one", keep=2)
    kept.save({"x": torch.zeros(1)}, {"turns": 0})
    kept.path.rename(tmp_path / "a.1")  # as far as a kill got before the new file was there
    assert turns(kept) == 0
    kept.save({"x": torch.zeros(1)}, {"turns": 1})
    os.truncate(kept.path, 3)
    assert turns(kept) == 0


def test_an_older_file_of_this_fit_is_taken_up_again(tmp_path: Path) -> None:
    mine, other = (Checkpoint(tmp_path / "a", digest, keep=2) for digest in ("one", "two"))
    mine.save({"x": torch.zeros(1)}, {"turns": 1})
    other.save({"x": torch.zeros(1)}, {"turns": 2})
    assert (turns(mine), turns(other)) == (1, 2)
    with pytest.raises(UsageError, match="keep must be at least 1"):
        Checkpoint(tmp_path / "a", "one", keep=0)


def test_states_that_come_too_soon_are_not_written(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "a", "one", rest=1000)
    for turn in range(3):
        kept.save({"x": torch.zeros(1)}, {"turns": turn})
    assert turns(kept) == 0
