"""The tables of docs/embedded.md: the committed ones are whole, and the script makes them from what it should."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from benchmarks.embedded import MARK, PAGE, PIXELS, SHOTS, written
from benchmarks.evidence import embedded as trials

from benchmarks import embedded
from clipwright.assets import datasets
from clipwright.assets.datasets.knowledge import knowledge
from clipwright.core.errors import UsageError


def test_the_page_shows_every_data_set() -> None:
    _, tables, _ = PAGE.read_text(encoding="utf-8").split(MARK)
    assert tables.strip().startswith("Run: ")
    for name in datasets.names():
        assert tables.count(f"\n| {name} |") == 1, f"run benchmarks/embedded.py --write: {name} is missing"
        assert tables.count(f"\n| {name}, top-1, % |") == 1
    assert tables.count(f"\n| {PIXELS} |") == len(datasets.names())
    cells = [row.split("|")[2:-1] for row in tables.splitlines() if row.startswith("| TaskRes |")]
    assert all(len(row) == len(SHOTS) for row in cells)


def test_tables_are_put_between_the_marks() -> None:
    assert written(f"a\n{MARK}\nold\n{MARK}\nb", "new") == f"a\n{MARK}\n\nnew\n\n{MARK}\nb"
    with pytest.raises(UsageError, match="twice"):
        written("no marks", "new")


def test_a_page_of_some_data_sets_is_refused() -> None:
    with pytest.raises(UsageError, match="every data set"):
        embedded.main(["--sets", "digits", "--write"])


def test_attributes_leave_the_name_out_and_paraphrases_have_it() -> None:
    found = embedded.described(knowledge("digits"))
    assert {c for c, _ in found["attributes"]} == {c for c, _ in found["paraphrases"]} == set(range(10))
    assert all(text.startswith("a digit with ") for _, text in found["attributes"])


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.filterwarnings("ignore:the embedded model", "ignore:.*longer than the model")
def test_a_small_run() -> None:
    (trial,) = trials("development", only=["digits"])
    one = embedded.baselines(trial, [1], 1, 0)
    rows = np.array([int(i) for i in one.prepared.dataset.ids])
    assert (np.array(datasets.load("digits").split)[rows] == "train").all()  # the test part was not opened
    shown = embedded.tables([one], argparse.Namespace(part="development", draws=1, seed=0, shots=[1]), "0" * 64)
    assert shown.startswith("Run: development part, 1 draws, seed 0, embedded model 000000000000; clipwright")
    assert "| nearest mean |" in shown
    assert len(embedded.zero_shot_table([one])[1]) == len(embedded.zero_shot_table([one])[0])
    together = np.mean([r.mean() for r in embedded.right(one.results, embedded.ENSEMBLE)])
    assert together - one.alone == pytest.approx(one.gain.mean)
