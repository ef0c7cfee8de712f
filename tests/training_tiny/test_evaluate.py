from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from training.tiny import evaluate, report

from clipwright.assets import datasets, tiny
from clipwright.assets.datasets import EmbeddedData


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any, tiny.PreprocessConfig]:
    return tiny.load()


def _few(data: EmbeddedData, count: int) -> EmbeddedData:
    rows = np.random.default_rng(0).permutation(len(data.labels))[:count]
    split = tuple(data.split[i] for i in rows)
    return EmbeddedData(
        data.name, data.class_names, data.images[rows], data.labels[rows], split, data.templates[:2], "", "", ""
    )


def test_pixels_follow_the_models_preprocessing() -> None:
    found = evaluate.pixels(np.array([[[[0, 51, 255]]]], dtype=np.uint8))
    assert found.flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0])
    preprocess = tiny.preprocess()
    assert (0.2 - preprocess["mean"][0]) / preprocess["std"][0] == pytest.approx(-0.6)


def test_zero_shot_looks_at_the_named_part_only(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    model, tokenizer, _ = loaded
    data = _few(datasets.load("digits"), 300)
    before = evaluate.zero_shot(model, tokenizer, data, "train")
    assert set(before) == {*data.templates, "all"}
    # With every test label wrong, the figure of the other part stays, and the test part's falls.
    wrong = data.labels.copy()
    wrong[data.rows("test")] = (wrong[data.rows("test")] + 1) % 10
    spoilt = replace(data, labels=wrong)
    assert evaluate.zero_shot(model, tokenizer, spoilt, "train") == before
    assert evaluate.zero_shot(model, tokenizer, spoilt, "test")["all"] < 0.3 < before["all"]


def test_labels_help(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    found = report.probe(loaded[0], _few(datasets.load("digits"), 900), "test", (1, 8), draws=2)
    assert found["features 8"] > found["features 1"] + 0.05
    assert set(found) == {"features 1", "features 8", "pixels 1", "pixels 8"}


def test_colour_and_shape_compose(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    assert report.pairs(loaded[0], held_out=True) > 10 / 168


def test_text_features_are_normalised(loaded: tuple[Any, Any, tiny.PreprocessConfig]) -> None:
    model, tokenizer, _ = loaded
    rows = evaluate.text_features(model, tokenizer, ("the digit one.", "the digit two."))
    assert torch.allclose(rows.norm(dim=-1), torch.ones(2))
