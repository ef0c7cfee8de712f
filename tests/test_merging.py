"""Two classifiers merged in weight space: exact ends, the mean in between, and what can't be merged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clipwright
from clipwright.access import TowerUpdate
from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone
from clipwright.classifier import Classifier
from clipwright.core.errors import DataError, UsageError
from clipwright.fitted import Fitted
from clipwright.heads.cache import CacheHead
from clipwright.heads.linear import LinearHead
from clipwright.merging import averages_statistics, merge, merge_curve
from clipwright.protocol.evaluation import evaluate_logits

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")
NAMES = ("a", "b", "c")
PROJECTION = "tower.head.proj.weight"


@pytest.fixture(scope="module")
def state() -> Mapping[str, torch.Tensor]:
    backbone = resolve("tiny", device="cpu").load()
    assert isinstance(backbone, TowerBackbone)
    return backbone.image_module().state_dict()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(6)]


def made(seed: int, tower: TowerUpdate | None = None, names: tuple[str, ...] = NAMES, **head: Any) -> Classifier:
    draw = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(len(names), 128, generator=draw), torch.randn(len(names), generator=draw)
    described = resolve("tiny", device="cpu").describe()
    fitted = Fitted(LinearHead(weight, bias, **head), tower=tower)
    return Classifier(fitted, names, backbone=described, temperature=1.5, device="cpu")


def update(state: Mapping[str, torch.Tensor], names: tuple[str, ...] = (PROJECTION,), by: float = 0.05) -> TowerUpdate:
    draw = torch.Generator().manual_seed(9)
    tensors = {n: state[n] + by * torch.rand(state[n].shape, generator=draw) for n in names}
    return TowerUpdate("tiny", "d", tensors)


def test_the_ends_are_exact(state: Mapping[str, torch.Tensor], images: list[np.ndarray]) -> None:
    base, tuned = made(1, scale=100.0), made(2, update(state), scale=1.0)
    for alpha, end in ((0.0, base), (1.0, tuned)):
        assert np.array_equal(merge(base, tuned, alpha).predict_proba(images), end.predict_proba(images))


def test_in_between_every_tensor_is_the_mean(state: Mapping[str, torch.Tensor], images: list[np.ndarray]) -> None:
    base, tuned = made(1, scale=100.0), made(2, update(state), scale=3.0)
    merged = merge(base, tuned, 0.3)
    heads = [classifier.fitted.head.state_dict() for classifier in (base, tuned)]
    weight = 0.7 * 100 * heads[0]["weight"] + 0.3 * 3 * heads[1]["weight"]
    bias = 0.7 * heads[0]["bias"] + 0.3 * heads[1]["bias"]
    torch.testing.assert_close(merged.fitted.head.state_dict()["weight"], weight)
    assert merged.fitted.tower is not None
    assert tuned.fitted.tower is not None
    expected = 0.7 * state[PROJECTION] + 0.3 * tuned.fitted.tower.tensors[PROJECTION]
    torch.testing.assert_close(merged.fitted.tower.tensors[PROJECTION], expected)
    backbone = merged.backbone_ref().load()
    pixels = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]))
    x = torch.nn.functional.normalize(backbone.images(pixels).x, dim=1)
    logits = (x @ weight.T + bias).double()
    np.testing.assert_allclose(merged.predict_proba(images), torch.softmax(logits, 1), rtol=1e-4, atol=1e-7)
    assert merged.temperature == 1.0
    assert merged.card["merged"]["alpha"] == 0.3


def test_what_either_end_learned_from_is_remembered() -> None:
    base, tuned = made(1), made(2)
    base.support_contents, tuned.support_contents = ("a" * 16,), ("b" * 16, "a" * 16)
    assert merge(base, tuned, 0.5).support_contents == ("a" * 16, "b" * 16)
    assert merge(base, tuned, 0.5).device == "cpu"


def test_classes_are_matched_by_name(images: list[np.ndarray]) -> None:
    base, tuned = made(1), made(2, names=("c", "a", "b"))
    half = merge(base, tuned, 0.5)
    weights = [c.fitted.head.state_dict()["weight"] for c in (base, tuned)]
    expected = 50 * weights[0] + 50 * weights[1][[1, 2, 0]]
    torch.testing.assert_close(half.fitted.head.state_dict()["weight"], expected)
    assert half.class_names == NAMES
    assert half.fitted.tower is None
    whole = merge(base, tuned, 1.0)
    assert (whole.predict(images) == tuned.predict(images)).all()


def test_low_rank_updates_become_whole_tensors(state: Mapping[str, torch.Tensor]) -> None:
    weight = state[PROJECTION]
    up, down = torch.randn(len(weight), 2), torch.randn(2, weight.shape[1])
    merged = merge(made(1), made(2, TowerUpdate("tiny", "d", {}, {PROJECTION: (up, down)})), 0.5)
    assert merged.fitted.tower is not None
    torch.testing.assert_close(merged.fitted.tower.tensors[PROJECTION], weight + 0.5 * up @ down)


def test_a_merge_is_saved_and_loaded(
    state: Mapping[str, torch.Tensor], images: list[np.ndarray], tmp_path: Path
) -> None:
    merged = merge(made(1), made(2, update(state)), 0.5)
    merged.save(tmp_path / "m")
    again = Classifier.load(tmp_path / "m", device="cpu")
    assert np.array_equal(again.predict_proba(images), merged.predict_proba(images))


def test_statistics_are_estimated_on_images(state: Mapping[str, torch.Tensor]) -> None:
    names = tuple(n for n in state if n.endswith(("running_mean", "running_var")))
    base, tuned = made(1), made(2, update(state, names, by=1.0))
    assert averages_statistics(base, tuned)
    assert not averages_statistics(base, made(2, update(state)))
    data = clipwright.open_data("digits")
    plain = merge(base, tuned, 0.5)
    renewed = merge(base, tuned, 0.5, statistics=data.take(range(64)))
    assert plain.fitted.tower is not None
    assert renewed.fitted.tower is not None
    first = names[0]
    assert not torch.allclose(plain.fitted.tower.tensors[first], renewed.fitted.tower.tensors[first])
    with pytest.raises(DataError, match="no images"):
        merge(base, tuned, 0.5, statistics=data.take([]))


def test_curve_measures_each_merge() -> None:
    seen = []

    def measure(merged: Classifier, dataset: Any) -> Any:
        seen.append(merged.fitted.head.state_dict()["bias"][0].item())
        return evaluate_logits(np.eye(3), [0, 1, 1], NAMES)

    data = clipwright.open_data("digits")
    rows = merge_curve(made(1), made(2), [0, 0.5, 1], [data], measure)
    assert [row["alpha"] for row in rows] == [0, 0.5, 1]
    assert all(
        row["n"] == 3 and abs(row["accuracy"] - 2 / 3) < 1e-9 and row["low"] < 2 / 3 < row["high"] for row in rows
    )
    assert len(set(seen)) == 3


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_must_be_a_share(alpha: float) -> None:
    with pytest.raises(UsageError, match="alpha must lie in"):
        merge(made(1), made(2), alpha)


def test_what_does_not_belong_together_is_refused() -> None:
    base = made(1)
    with pytest.raises(DataError, match="only one of the classifiers knows the class 'c'"):
        merge(base, made(2, names=("a", "b", "d")), 0.5)
    head = CacheHead(torch.randn(3, 128), torch.randn(3, 128), torch.arange(3), alpha=1.0, beta=1.0)
    cache = Classifier(Fitted(head), NAMES, backbone=base.backbone)
    with pytest.raises(DataError, match="CacheHead can't be merged"):
        merge(base, cache, 0.5)
    with pytest.raises(DataError, match="ready-made features"):
        merge(base, Classifier(base.fitted, NAMES, backbone=None), 0.5)
    assert base.backbone is not None
    other = Classifier(base.fitted, NAMES, backbone={**base.backbone, "files": {"weights": "x"}})
    with pytest.raises(DataError, match="different backbones"):
        merge(base, other, 0.5)
    with pytest.raises(DataError, match="scales features to length 1"):
        merge(base, made(2, normalize=False), 0.5)
