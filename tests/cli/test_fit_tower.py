"""Towers trained from the command line: killed and continued, damaged images, blocked classes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clipwright.classifier import Classifier
from clipwright.cli.app import run
from clipwright.cli.fit import WORK

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:the embedded model")]
TUNED = ["--method", "RegFT", "--set", "batch_size=20", "--set", "alpha=1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six generated images of each digit."""
    folder = tmp_path_factory.mktemp("made") / "digits"
    assert run(["generate", "digits", "--per-class", "6", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_a_killed_training_goes_on(made: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a training; the same command ends where an uninterrupted one does, to the bit."""
    command = [sys.executable, "-m", "clipwright.cli", "fit", str(made), "--backbone", "tiny", *TUNED]
    command += ["--set", "epochs=12", "--device", "cpu", "--quiet", "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    state = killed / WORK / "regft.safetensors"
    with subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None and not state.exists():
            time.sleep(0.01)
        running.kill()
    assert not (killed / "classifier.json").exists()
    subprocess.run([*command, str(killed)], check=True, capture_output=True)
    assert not state.parent.exists()
    first, second = (Classifier.load(folder).fitted for folder in (whole, killed))
    for a, b in zip(first.head.state_dict().values(), second.head.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert first.tower is not None
    assert second.tower is not None
    assert first.tower.digest == second.tower.digest
    assert first.trace.losses == second.trace.losses


def test_a_damaged_image_is_left_out_and_told(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(made, broken)
    path = min(broken.glob("003-*/*"))
    path.write_bytes(path.read_bytes()[:60])
    command = ["fit", str(broken), "--backbone", "tiny", *TUNED, "--set", "epochs=1"]
    assert run([*command, "--out", str(tmp_path / "c")]) == 0
    assert path.name in capsys.readouterr().err
    assert Classifier.load(tmp_path / "c").card["skipped_images"] == 1


def test_a_class_without_images_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(made, lacking)
    for path in lacking.glob("003-*/*"):
        path.unlink()
    assert run(["fit", str(lacking), "--backbone", "tiny", *TUNED, "--out", str(tmp_path / "c"), "-q"]) == 1
    assert "class 'three' has no labelled image" in capsys.readouterr().err
