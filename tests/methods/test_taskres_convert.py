"""tools/convert_taskres.py: released checkpoints become bases that TaskRes takes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tools.convert_taskres import main

from clipwright.methods.example import example
from clipwright.methods.taskres import TaskRes
from clipwright.methods.taskres_base import read_base
from clipwright.task import Need, Task, TextFeatures

DIM, NARROW, CLASSES = 16, 7, 5


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def own(tmp_path: Path) -> torch.Tensor:
    """(d_t, D) a model's own projection, in ``clip.safetensors``."""
    projection = matrix(NARROW, DIM, seed=1)
    save_file({"text_projection": projection, "logit_scale": torch.tensor(4.6)}, tmp_path / "clip.safetensors")
    return projection


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_an_enhanced_base(tmp_path: Path, own: torch.Tensor, ending: str) -> None:
    tuned, before = matrix(DIM, NARROW, seed=2), matrix(CLASSES, NARROW)
    torch.save({"state_dict": {"weight": tuned}, "epoch": 50}, tmp_path / "model.pth.tar")
    out = tmp_path / f"base.{ending}"
    main([str(tmp_path / "model.pth.tar"), str(out), "--original", str(tmp_path / "clip.safetensors")])
    support = example({Need.TEXT, Need.LABELS}).task.support
    names = tuple("abcde")
    found = TaskRes(base=out, epochs=2).fit(Task(names, TextFeatures(before @ own), support)).head
    expected = TaskRes(averaging="raw_mean", epochs=2).fit(Task(names, TextFeatures(before @ tuned.T), support)).head
    # the task's texts are averaged to length 1 before they are taken back, which leaves their directions
    torch.testing.assert_close(
        read_base(out).vectors(names, before @ own).double(), (before @ tuned.T).double(), rtol=0, atol=1e-4
    )
    assert found.state_dict()["weight"].shape == expected.state_dict()["weight"].shape


def test_a_trained_classifier_with_names(tmp_path: Path) -> None:
    text, residual = matrix(CLASSES, DIM), matrix(CLASSES, DIM, seed=3)
    torch.save({"state_dict": {"base": text.half(), "res": residual}}, tmp_path / "m.pth.tar")
    (tmp_path / "names.txt").write_text("a\nb\n\nc\nd\ne\n", encoding="utf-8")
    options = ["--text", "base", "--residual", "res", "--alpha", "0.5", "--classes", str(tmp_path / "names.txt")]
    for out in (tmp_path / "b.npz", tmp_path / "b.safetensors"):
        main([str(tmp_path / "m.pth.tar"), str(out), *options])
        base = read_base(out)
        assert base.class_names == tuple("abcde")
        torch.testing.assert_close(base.text_features, text.half().float() + 0.5 * residual, rtol=0, atol=0)


class Bomb:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("bomb"),))  # type: ignore[return-value] # any callable


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        write({"state_dict": {"weight": matrix(3, 2)}, "more": Bomb()}, tmp_path / "m.pth.tar")
        with pytest.raises(SystemExit, match="not read any other way"):
            main([str(tmp_path / "m.pth.tar"), str(tmp_path / "o.npz"), "--text", "weight"])
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["o.npz"], "give --original"),
        (["o.npz", "--key", "w"], "has no matrix 'w'; it holds weight"),
        (["o.npz", "--text", "weight", "--residual", "weight"], "give --alpha"),
        (["o.npz", "--original", "clip.safetensors"], "must belong to the same model"),
        (["o.pt", "--text", "weight"], r"must end in .safetensors or .npz"),
        (["o.npz", "--text", "weight", "--classes", "names.txt"], "names 1 classes but there are 3"),
    ],
)
@pytest.mark.usefixtures("own")
def test_what_cannot_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": matrix(3, 2)}, "m.pth")
    Path("names.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=reason):
        main(["m.pth", *options])
    assert not Path("o.npz").exists()


def test_npz_holds_plain_arrays(tmp_path: Path) -> None:
    torch.save({"weight": matrix(3, 2)}, tmp_path / "m.pth")
    main([str(tmp_path / "m.pth"), str(tmp_path / "o.npz"), "--text", "weight"])
    with np.load(tmp_path / "o.npz", allow_pickle=False) as file:
        assert file.files == ["text_features"]
        assert file["text_features"].dtype == np.float32
