"""The verbs, on real digits and on files of our own."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import clipwright as cw
from clipwright import api
from clipwright.backbones.loaded import TowerBackbone
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.methods.taskres import TaskRes
from clipwright.task import TowerUpdate

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this module: features of digits are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _shared_home(home: Path, monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(home))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of each of three digits in class folders, two unlabeled, one broken."""
    data = cw.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    for index in (0, 1, 7):
        for number, row in enumerate((data.labels == index).nonzero()[0][:6]):
            path = tmp_path / "photos" / data.class_names[index] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            data.reader.read(sources[row]).image.save(path)
    (tmp_path / "photos" / "one" / "broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


def test_labels_beat_names_on_real_digits() -> None:
    names = cw.evaluate(cw.fit("digits", backbone="tiny", method="ZeroShot", quiet=True), "digits", quiet=True)
    labels = cw.evaluate(cw.fit("digits", backbone="tiny", shots=16, quiet=True), "digits", quiet=True)
    assert 0.5 < names.top1 < 0.95
    assert labels.low > names.high
    assert names.split == labels.split == "test"


def test_the_same_seed_gives_the_same_classifier() -> None:
    one, two = (cw.fit("digits", backbone="tiny", shots=2, seed=3, quiet=True) for _ in range(2))
    state, other = (c.fitted.head.state_dict() for c in (one, two))
    assert all(bool((state[name] == other[name]).all()) for name in state)
    assert one.temperature == two.temperature


def test_test_labels_reach_no_fit() -> None:
    data = cw.open_data("digits")
    poisoned = data.labels.copy()
    poisoned[data.splits == "test"] = 0
    column = data.table.schema.get_field_index("label")
    table = data.table.set_column(column, "label", pa.array(poisoned, pa.int32()))
    other = dataclasses.replace(data, table=table)
    a, b = (cw.fit(d, backbone="tiny", shots=4, quiet=True) for d in (data, other))
    one, two = a.fitted.head.state_dict(), b.fitted.head.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert a.temperature == b.temperature


def test_a_folder_with_a_broken_file(folder: Path) -> None:
    run = api.fit_run(folder, backbone="tiny", quiet=True)
    assert [path for path, _ in run.prepared.problems] == ["one/broken.png"]
    assert run.classifier.card["labels_per_class"] == [6, 6, 6]
    assert run.scored is not None
    assert run.scored.basis == "out of fold"
    assert run.evaluation is not None
    assert run.evaluation.n == 18
    page = api.fit_report(run, folder.parent / "out").read_text(encoding="utf-8")
    assert "one/broken.png" in page
    assert "did not see it" in page


def test_shots_leave_the_rest_to_score(folder: Path) -> None:
    run = api.fit_run(folder, backbone="tiny", shots=2, quiet=True)
    assert run.scored is not None
    assert run.scored.basis == "held out"
    assert len(run.scored.labels) == 12
    with pytest.raises(DataError, match="7 labelled images per class"):
        api.fit_run(folder, backbone="tiny", shots=7, quiet=True)


def test_unlabeled_images_and_names(folder: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(folder.rglob("[0-9].png"))):
        shutil.copy(path, flat / f"{i}.png")
    run = api.fit_run(flat, backbone="tiny", classes=["zero", "one", "seven"], quiet=True)
    assert run.classifier.card["method"] == "auto"
    assert run.classifier.card["picked"] == "Transductive"
    assert run.evaluation is None
    page = api.fit_report(run, tmp_path / "out").read_text(encoding="utf-8")
    assert "Least certain" in page
    with pytest.raises(NeedsError, match="labelled"):
        api.fit_run(flat, backbone="tiny", classes=["zero", "one", "seven"], method="TaskRes", quiet=True)


def test_one_class_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "one")
    shutil.rmtree(folder / "seven")
    with pytest.raises(DataError, match="single class"):
        cw.fit(folder, backbone="tiny", quiet=True)


def test_evaluating_on_what_was_fitted_is_told(folder: Path) -> None:
    classifier = cw.fit(folder, backbone="tiny", quiet=True)
    found = cw.evaluate(classifier, folder, quiet=True)
    assert any("exact cop" in note for note in found.notes)
    assert found.problems


def test_a_changed_tower_is_measured_by_its_own_features(folder: Path) -> None:
    run = api.fit_run(folder, backbone="tiny", method="GDA", shots=3, quiet=True)
    assert run.prepared.ref is not None
    backbone = run.prepared.ref.load()
    assert isinstance(backbone, TowerBackbone)
    name, tensor = next(iter(backbone.image_module().state_dict().items()))
    update = TowerUpdate("tiny", backbone.digest, {name: tensor.clone()})  # a change that changes nothing
    fitted = dataclasses.replace(run.fitted, tower=update)
    names = run.classifier.class_names
    changed = cw.Classifier(fitted, names, backbone=run.classifier.backbone)
    plain = cw.evaluate(run.classifier, folder, quiet=True)
    assert cw.evaluate(changed, folder, quiet=True).top1 == plain.top1


def test_a_subset_of_classes_in_another_order(folder: Path) -> None:
    classifier = cw.fit("digits", backbone="tiny", shots=8, quiet=True)
    found = cw.evaluate(classifier, folder, quiet=True)
    assert set(found.per_class) == {"zero", "one", "seven"}
    (folder / "one").rename(folder / "llama")
    with pytest.raises(DataError, match="'llama'"):
        cw.evaluate(classifier, folder, quiet=True)


def test_a_bundle_brings_its_own_features(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.arange(60) % 3
    means = np.eye(3, 16) * 3
    path = tmp_path / "features.npz"
    np.savez(
        path,
        image_features=(means[labels] + rng.normal(size=(60, 16))).astype(np.float32),
        labels=labels,
        class_names=np.array(["a", "b", "c"]),
        text_features=means.astype(np.float32),
    )
    classifier = cw.fit(path, shots=4)
    assert classifier.backbone is None
    assert cw.evaluate(classifier, path).top1 > 0.8
    with pytest.raises(UsageError, match="feature bundle"):
        cw.fit(path, backbone="tiny")
    with pytest.raises(UsageError, match="feature bundle"):
        cw.extract(path)


def test_compare_gives_intervals() -> None:
    results = cw.compare("digits", ["ZeroShot", "TaskRes"], shots=(1, 4), draws=3, backbone="tiny", quiet=True)
    rows = {(r.method, r.shots): r for r in results.summary()}
    assert rows.keys() == {("ZeroShot", 0), ("TaskRes", 1), ("TaskRes", 4)}
    assert all(r.low <= r.mean <= r.high for r in rows.values())
    assert rows["TaskRes", 4].mean > rows["ZeroShot", 0].mean


@pytest.mark.parametrize("wrong", [{"method": 3}, {"method": None}, {"method": TaskRes}, {"seed": 1.5}, {"seed": "a"}])
def test_what_is_no_method_or_seed_is_refused_not_replaced(wrong: dict[str, Any], folder: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} must be"):
        cw.fit(folder, backbone="tiny", quiet=True, **wrong)


def test_hyper_parameters_want_a_method() -> None:
    with pytest.raises(UsageError, match="auto has no hyper-parameter 'alpha'"):
        cw.fit("digits", backbone="tiny", hyper_parameters={"alpha": 0.3}, quiet=True)
    with pytest.raises(UsageError, match="set them on the method itself"):
        cw.fit("digits", backbone="tiny", method=TaskRes(), hyper_parameters={"alpha": 0.3}, quiet=True)
    with pytest.raises(UsageError, match="no method 'nonsense'"):
        cw.fit("digits", backbone="tiny", method="nonsense", quiet=True)


def test_views_are_learned_from(folder: Path) -> None:
    run = api.fit_run(folder, backbone="tiny", shots=3, views=4, quiet=True)
    assert run.task.support is not None
    assert run.task.support.views is not None
    assert run.task.support.views.shape[:2] == (9, 4)


@pytest.mark.parametrize("source", ["", " ", None, 3, ["digits"]])
def test_what_is_no_data_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match="data must be a path"):
        cw.open_data(source)  # type: ignore[arg-type] # on purpose


def test_no_templates_and_a_bare_method_are_refused() -> None:
    with pytest.raises(UsageError, match="templates is empty"):
        cw.fit("digits", backbone="tiny", templates=[], quiet=True)
    with pytest.raises(UsageError, match="must be a list"):
        cw.compare("digits", "ZeroShot", backbone="tiny", quiet=True)
