"""CoOp's draws, against the recorded ones and on data made here."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.data import Dataset, manifest
from clipwright.data.benchmarks import find_benchmark, read_split
from clipwright.data.dataset import Split, split_array
from clipwright.protocol.coop import SEEDS, SHOTS, coop_draw

RECORDED = ("caltech101", "dtd", "eurosat", "oxford_flowers", "oxford_pets", "stanford_cars", "ucf101")


def sha(paths: list[str]) -> str:
    return hashlib.sha256("\n".join(paths).encode()).hexdigest()


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "realdata/coop_fewshot_expected.json").read_text())
    assert len(found) == len(RECORDED) * len(SHOTS) * len(SEEDS) == 105
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_draws_come_out_image_by_image(name: str, shared: Path, expected: dict[str, Any]) -> None:
    benchmark = find_benchmark(name)
    rows = read_split(shared / f"realdata/coop_splits/{benchmark.split[0]}.gz", benchmark.edits)
    table = manifest(rows.paths, rows.labels, split_array(rows.splits))
    data = Dataset(name, rows.class_names, table)
    for shots in SHOTS:
        for seed in SEEDS:
            drawn, wanted = coop_draw(data, shots, seed), expected[f"{name}/shots={shots}/seed={seed}"]
            support, validation = ([data.ids[i] for i in part] for part in (drawn.support, drawn.validation))
            assert support[0] == wanted["train_first"]
            assert (len(support), sha(support)) == (wanted["train"], wanted["train_sha256"])
            assert (len(validation), sha(validation)) == (wanted["val"], wanted["val_sha256"])


def small(train: list[int], val: list[int], test: list[int] | None = None) -> Dataset:
    labels = [*train, *val, *(test or [])]
    splits: list[Split] = [*["train"] * len(train), *["val"] * len(val), *["test"] * len(test or [])]  # type: ignore[list-item]
    table = manifest([f"{i:03d}" for i in range(len(labels))], np.array(labels), split_array(splits))
    return Dataset("small", tuple(f"c{c}" for c in range(max(labels) + 1)), table)


def test_classes_come_in_the_order_of_their_first_image_and_small_ones_give_all() -> None:
    data = small([2, 2, 0, 2, 1, 0, 0], [0, 2, 2, 1, 1, 1], [0, 1, 2])
    drawn = coop_draw(data, 3, seed=1)
    stream = random.Random(1)  # noqa: S311 - the convention under test
    support = [*stream.sample([0, 1, 3], 3), *stream.sample([2, 5, 6], 3), 4]
    assert drawn.support.tolist() == support
    assert drawn.validation.tolist() == [7, 8, 9, *stream.sample([10, 11, 12], 3)]
    assert not set(drawn.validation) & set(drawn.support)


def test_without_a_validation_split_there_is_no_validation_set() -> None:
    drawn = coop_draw(small([0, 0, 1, 1], [], [0, 1]), 1, seed=2)
    assert len(drawn.support) == 2
    assert drawn.validation.dtype == np.int64
    assert not len(drawn.validation)


def test_what_can_not_be_drawn_from_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        coop_draw(small([0, 1], []), 0, seed=1)
    with pytest.raises(DataError, match="no labelled train split"):
        coop_draw(small([], [], [0, 1]), 1, seed=1)
