"""Printed digits: the classes of `digits`, and a gap to them that is real."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.assets.datasets import load
from clipwright.assets.datasets.prints import PER_CLASS, load_prints
from clipwright.backbones import resolve
from clipwright.data import open_data
from clipwright.methods import make
from clipwright.protocol.prepare import prepare
from clipwright.task import Features


def test_the_classes_are_those_of_digits_and_equally_many() -> None:
    prints = load_prints()
    assert prints.class_names == load("digits").class_names
    for split in ("train", "test"):
        rows = np.array(prints.split) == split
        assert np.bincount(np.asarray(prints.labels)[rows]).tolist() == [PER_CLASS // 2] * 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
def test_learning_from_them_alone_is_worse_on_handwriting_than_the_names_are() -> None:
    ref = resolve("tiny", device="cpu")
    real, printed = (prepare(open_data(name), ref, quiet=True) for name in ("digits", "digits-print"))
    train = printed.dataset.rows("train")
    probe = make("LinearProbe", C=10_000).fit(printed.task(train))
    names = make("ZeroShot").fit(real.task())
    rows = real.dataset.rows("train")  # the development part: the test part chooses nothing
    labels = torch.from_numpy(real.dataset.labels[rows])

    def right(logits: torch.Tensor) -> float:
        return float((logits.argmax(1) == labels).double().mean())

    features: Features = real.rows(rows)
    assert right(probe(features)) < right(names(features)) - 0.03
