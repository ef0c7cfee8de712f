"""Bases for TaskRes: tuned first, or given as arrays, files and classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clipwright.classifier import Classifier
from clipwright.core.errors import DataError, FormatError, UsageError
from clipwright.fitted import Fitted
from clipwright.heads.blend import BlendHead
from clipwright.heads.linear import LinearHead
from clipwright.methods import make
from clipwright.methods.example import example
from clipwright.methods.taskres import TaskRes
from clipwright.methods.taskres_base import GivenBase, as_base, read_base, tuned_texts
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Need, Task, TextFeatures
from clipwright.training.schedules import cosine_schedule

CLASSES, DIM, NARROW = 5, 16, 7


def case(**options: Any) -> Task:
    return example({Need.TEXT, Need.LABELS}, **options).task


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(base: Any, task: Task | None = None, **fields: Any) -> torch.Tensor:
    weight: torch.Tensor = TaskRes(base=base, epochs=3, **fields).fit(task or case()).head.state_dict()["weight"]
    return weight


def with_texts(rows: torch.Tensor) -> Task:
    task = case()
    return Task(task.class_names, TextFeatures(rows), task.support)


# ---- the enhanced base ----------------------------------------------------------------------------------------------


def test_tuned_texts_against_a_plain_reference() -> None:
    """The matrix itself as the parameter, autograd through the whole formula, torch's own Adam."""
    task = case(shots=3)
    assert task.support is not None
    assert task.text is not None
    texts, rates = 8 * task.text.classifier(), cosine_schedule(1e-3, 20)
    whole = torch.arange(len(task.support))
    found = tuned_texts(task.support.x, task.support.labels, texts, batches=[[whole]] * 20, learning_rates=rates)
    x = task.support.x / task.support.x.norm(dim=1, keepdim=True)
    m = torch.eye(DIM, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([m])
    for rate in rates:
        adam.param_groups[0]["lr"] = rate
        w = (texts / 8) @ m
        loss = -torch.log_softmax(100 * x @ (w / w.norm(dim=1, keepdim=True)).T, 1)[whole, task.support.labels].mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        adam.step()
    w = (texts / 8) @ m.detach()
    torch.testing.assert_close(found, 8 * w / w.norm(dim=1, keepdim=True), rtol=0, atol=1e-9)


def test_the_enhanced_base_fits_the_support_better_and_says_what_it_is() -> None:
    regular, enhanced = TaskRes(epochs=1).fit(case()), TaskRes(base="enhanced", epochs=1).fit(case())
    assert enhanced.trace.losses[0] < regular.trace.losses[0]
    assert enhanced.trace.how["base"] == "user"
    assert "Two stages: a 16 x 16 matrix" in enhanced.trace.notes[0]
    assert not regular.trace.notes


def test_the_enhanced_base_sees_views_and_batches() -> None:
    made = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
    assert not torch.equal(weights("enhanced", made), weights("enhanced", made, use_views=False))
    assert not torch.equal(weights("enhanced", batch_size=4), weights("enhanced"))


# ---- bases of the user ----------------------------------------------------------------------------------------------


def test_text_features_stand_in_for_the_tasks_own() -> None:
    rows = matrix(CLASSES, DIM)
    expected = weights("regular", with_texts(rows), averaging="raw_mean")
    for base in (rows, rows.numpy(), rows.tolist(), {"text_features": rows}):
        torch.testing.assert_close(weights(base), expected, rtol=0, atol=1e-6)
    names = case().class_names
    mixed = {"text_features": rows[[2, 0, 1, 4, 3]], "class_names": [names[i] for i in (2, 0, 1, 4, 3)]}
    torch.testing.assert_close(weights(mixed), expected, rtol=0, atol=1e-12)


def test_a_projection_takes_the_place_of_the_models_own() -> None:
    """Both ways: from texts before the projection, and from the task's texts and the model's own projection."""
    before, own, tuned = matrix(CLASSES, NARROW), matrix(DIM, NARROW, seed=1), matrix(DIM, NARROW, seed=2)
    task = with_texts(before @ own.T)
    expected = weights("regular", with_texts(before @ tuned.T), legacy_raw_scale=True)
    for more in ({"original": own}, {"text_pre_projection": before}):
        found = weights({"projection": tuned, **more}, task, legacy_raw_scale=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_square_projection() -> None:
    before, own, tuned = matrix(CLASSES, DIM), matrix(DIM, DIM, seed=1), matrix(DIM, DIM, seed=2)
    expected = weights("regular", with_texts(before @ tuned.T), legacy_raw_scale=True)
    found = weights({"projection": tuned, "original": own}, with_texts(before @ own.T), legacy_raw_scale=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_files_hold_what_arrays_do(tmp_path: Path) -> None:
    names, rows = case().class_names, matrix(CLASSES, DIM).float()
    own, tuned = matrix(DIM, DIM, seed=1).float(), matrix(DIM, DIM, seed=2).float()
    np.savez(tmp_path / "a.npz", text_features=rows[[1, 0, 2, 3, 4]], class_names=[names[i] for i in (1, 0, 2, 3, 4)])
    order = [names[i] for i in (4, 1, 2, 3, 0)]
    save_file(
        {"text_features": rows[[4, 1, 2, 3, 0]].contiguous()},
        tmp_path / "a.safetensors",
        metadata={"class_names": json.dumps(order)},
    )
    for name in ("a.npz", "a.safetensors"):
        assert torch.equal(weights(tmp_path / name), weights(rows))
        assert torch.equal(weights(str(tmp_path / name)), weights(rows))
    save_file({"projection": tuned, "original": own}, tmp_path / "p.safetensors")
    assert torch.equal(weights(tmp_path / "p.safetensors"), weights({"projection": tuned, "original": own}))


def test_a_saved_classifier_and_one_in_memory(tmp_path: Path) -> None:
    task = case()
    start = TaskRes(epochs=4).fit(task)
    classifier = Classifier(start, task.class_names, backbone=None)
    classifier.save(tmp_path / "c")
    rows = start.head.state_dict()["weight"]
    assert torch.equal(weights(tmp_path / "c"), weights(rows))
    assert torch.equal(weights(classifier), weights(rows))
    part = Classifier(Fitted(start.head.restrict(torch.tensor([4, 0]))), ("class 4", "class 0"), backbone=None)
    assert as_base(part).text_features is not None
    assert torch.equal(as_base(part).text_features, rows[[4, 0]])  # type: ignore[arg-type] # it has one
    part.save(tmp_path / "part")
    with pytest.raises(DataError, match="no row for the class 'class 1'"):
        weights(tmp_path / "part")


def test_the_trace_says_which_base(tmp_path: Path) -> None:
    rows = matrix(CLASSES, DIM)
    trace = TaskRes(base=rows, epochs=1).fit(case()).trace
    assert trace.chosen["base"].startswith("text_features 5 x 16 #")
    assert trace.how["base"] == "user"
    np.savez(tmp_path / "a.npz", text_features=rows)
    chosen = TaskRes(base=tmp_path / "a.npz", epochs=1).fit(case()).trace.chosen
    assert chosen["base"] == str(tmp_path / "a.npz")
    json.dumps(chosen)


def test_configurations_with_bases_compare_and_hash() -> None:
    rows = matrix(CLASSES, DIM)
    assert TaskRes(base=rows) == TaskRes(base=rows.clone())
    assert hash(TaskRes(base=rows)) == hash(TaskRes(base=rows.clone()))
    assert TaskRes(base=rows) != TaskRes(base=rows + 1)
    assert TaskRes(base=rows) != TaskRes()
    assert make("TaskRes", base="enhanced") == TaskRes(base="enhanced")


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"text_features": matrix(CLASSES, DIM + 1)}, "for features 17 wide, but those of the task are 16 wide"),
        ({"text_features": matrix(CLASSES - 1, DIM)}, "has 4 rows but there are 5 classes"),
        ({"projection": matrix(DIM + 2, 4), "original": matrix(DIM + 2, 4)}, "for features 18 wide"),
        ({"projection": matrix(DIM, 4), "text_pre_projection": matrix(3, 4)}, "has 3 rows but there are 5"),
        ({"projection": matrix(DIM, 4), "original": matrix(DIM, 4)}, "weren't made with the 'original' projection"),
        ({"projection": matrix(DIM, 20), "original": matrix(DIM, 20)}, "give 'text_pre_projection'"),
        ({"projection": matrix(DIM, 4), "original": torch.zeros(DIM, 4)}, "can't be taken back"),
    ],
)
def test_bases_that_do_not_fit_the_task(arrays: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        weights(as_base(arrays))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "either 'text_features'.*or a 'projection'.*it holds neither"),
        ({"weight": matrix(3, 3)}, "it holds weight"),
        ({"text_features": matrix(3, 4), "projection": matrix(4, 3)}, "it holds text_features, projection"),
        ({"text_features": matrix(3)}, "must be a matrix of numbers; it is 3"),
        ({"text_features": torch.tensor(1.0)}, "it is a single number"),
        ({"text_features": matrix(3, 4) / 0}, "NaN or infinity"),
        ({"text_features": "words"}, "can't be read as a matrix"),
        ({"text_features": matrix(3, 4), "class_names": ["a"]}, "1 class names but 3 rows"),
        ({"text_features": matrix(3, 4), "class_names": "abc"}, "must be a list of texts"),
        ({"projection": matrix(4, 3)}, "needs either 'original'.*or 'text_pre_projection'"),
        ({"projection": matrix(4, 3), "original": matrix(3, 4)}, r"is 4 x 3 but 'original' is 3 x 4"),
        ({"projection": matrix(4, 3), "text_pre_projection": matrix(2, 4)}, "the projection takes 3 numbers"),
    ],
)
def test_arrays_that_are_no_base(arrays: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        as_base(arrays)
    if arrays:
        with pytest.raises(UsageError, match="TaskRes: base = "):
            make("TaskRes", base=arrays)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (LinearHead(matrix(3, 4), torch.ones(3)), "more than one vector per class"),
        (BlendHead([LinearHead(matrix(3, 4))], [1.0]), "more than one vector per class"),
        (LinearHead(matrix(3, 4)), "differ in length"),
    ],
)
def test_classifiers_that_are_no_base(head: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        as_base(Classifier(Fitted(head), ("a", "b", "c"), backbone=None))


def test_files_that_are_no_base(tmp_path: Path) -> None:
    for name, content in (("a.npz", b"x"), ("a.safetensors", b"x"), ("a.pt", b"x")):
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "objects.npz", text_features=np.array([{}], dtype=object))
    np.save(tmp_path / "single.npy", np.zeros((3, 4)))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    (tmp_path / "empty").mkdir()
    for name, reason in {
        "a.npz": "can't be read as arrays",
        "objects.npz": "can't be read as arrays",
        "single.npz": "holds a single array",
        "a.safetensors": "is no safetensors file",
        "a.pt": "give an .npz or .safetensors file",
        "b.npz": "there is no base at",
        "enhancd": "give an .npz or .safetensors file",
        "empty": "is no saved classifier",
    }.items():
        with pytest.raises(FormatError, match=reason):
            read_base(tmp_path / name)


def test_a_damaged_classifier(tmp_path: Path) -> None:
    task = case()
    Classifier(ZeroShot().fit(task), task.class_names, backbone=None).save(tmp_path)
    (weights_file,) = tmp_path.glob("*.safetensors")
    weights_file.write_bytes(weights_file.read_bytes()[:-8] + b"12345678")
    with pytest.raises(FormatError, match="damaged"):
        read_base(tmp_path)
    (tmp_path / "classifier.json").write_text("{}")
    with pytest.raises(FormatError, match="damaged"):
        read_base(tmp_path)


def test_a_base_as_such() -> None:
    base = GivenBase(text_features=matrix(3, 4), class_names=("a", "b", "c"))
    assert base != GivenBase(text_features=matrix(3, 4))
    assert base != "regular"
    assert len(base.digest) == 12
