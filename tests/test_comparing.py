"""Several data sets and backbones in one call, kept cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipwright as cw
from clipwright.comparing import compare_run, reopened
from clipwright.core.errors import DataError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def bundle(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), 20)
    centres = np.eye(3, 8) * 2
    np.savez(
        path,
        image_features=(centres[y] + 0.7 * rng.normal(size=(60, 8))).astype(np.float32),
        labels=y,
        class_names=np.array(["a", "b", "c"]),
        text_features=(centres + 0.3 * rng.normal(size=(3, 8))).astype(np.float32),
    )
    return path


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    return [bundle(tmp_path / f"{name}.npz", i) for i, name in enumerate(("one", "two"))]


def run(data: Any, **more: Any) -> cw.Results:
    return cw.compare(data, ["ZeroShot", "GDA", "auto"], shots=(1, 4), draws=2, quiet=True, **more)


def test_every_data_set_has_its_cells(bundles: list[Path]) -> None:
    results = run(bundles)
    assert results.groups() == (("one", "bundle"), ("two", "bundle"))
    for group in results.groups():
        assert results.methods(group) == ("ZeroShot", "GDA", "auto")
        assert results.shots_of("GDA", group) == (1, 4)
    picked = {json.loads(r["chosen"])["method"] for r in results.cells.to_pylist() if r["method"] == "auto"}
    assert picked
    assert all(r["reason"] for r in results.cells.to_pylist() if r["method"] == "auto")


def test_one_alone_and_several_give_the_same_numbers(bundles: list[Path]) -> None:
    both = {(r["dataset"], r["method"], r["shots"], r["draw"]): r["top1"] for r in run(bundles).cells.to_pylist()}
    for path in bundles:
        for r in run(path).cells.to_pylist():
            assert both[r["dataset"], r["method"], r["shots"], r["draw"]] == r["top1"]


def test_finished_cells_are_kept_in_a_folder(bundles: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    ran: list[Any] = []
    first = compare_run(bundles[:1], ["GDA"], shots=(1, 4), draws=2, out=out, quiet=True, on_cell=ran.append).results
    both = compare_run(bundles, ["GDA"], shots=(1, 4), draws=2, out=out, quiet=True, on_cell=ran.append).results
    assert len(ran) == len(both) == 8
    assert both.cells.slice(0, 4).equals(first.cells)
    assert cw.Results.load(out).cells.equals(both.cells)


@pytest.mark.slow
def test_each_data_set_is_run_with_each_backbone(bundles: list[Path]) -> None:
    results = cw.compare(["digits", bundles[0]], ["ZeroShot"], shots=(1,), draws=1, backbone=["tiny"], quiet=True)
    assert results.groups() == (("digits", "tiny"), ("one", "bundle"))


def test_what_contradicts_itself_is_refused(bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bring their own features"):
        run(bundles, backbone="tiny")
    with pytest.raises(UsageError, match="name at least one data set"):
        run([])
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="two data sets are called one"):
        run([bundles[0], bundle(tmp_path / "other" / "one.npz", 3)])
    np.savez(
        tmp_path / "single.npz", image_features=np.ones((4, 8)), labels=np.zeros(4, int), class_names=np.array(["a"])
    )
    with pytest.raises(DataError, match="single has a single class"):
        run([bundles[0], tmp_path / "single.npz"])
    with pytest.raises(UsageError, match="named twice"):
        run(["digits"], backbone=["tiny", "tiny"])
    with pytest.raises(UsageError, match="must be a list"):
        cw.compare(bundles, "GDA", quiet=True)
    with pytest.raises(UsageError, match="need names"):
        cw.compare(bundles, ["GDA", "gda"], quiet=True)


def test_data_sets_of_a_run_are_opened_again_where_they_still_are(bundles: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"verb": "compare", "data": [str(bundles[0]), "gone.npz"]}))
    assert list(reopened([folder])) == ["one"]
    (folder / "config.json").write_text(json.dumps({"verb": "compare", "data": 3}))
    assert reopened([folder, tmp_path / "nowhere"]) == {}
