"""Backbones with a changed tower: in memory, as a folder, inside a classifier, and refused when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.access import TowerUpdate
from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.tuned import TunedRef, load_update, save_tuned
from clipwright.classifier import TOWER, Classifier
from clipwright.core.errors import BackboneError, FormatError, NeedsError
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.task import Features

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def base() -> TowerBackbone:
    found = resolve("tiny", device="cpu").load()
    assert isinstance(found, TowerBackbone)
    return found


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8))


@pytest.fixture(scope="module")
def changed(base: TowerBackbone) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = base.image_module().state_dict()
    return {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in state.items() if n.endswith("weight")}


@pytest.fixture
def update(base: TowerBackbone, changed: dict[str, torch.Tensor]) -> TowerUpdate:
    return TowerUpdate(base.spec, base.digest, changed)


def test_a_tuned_backbone_gives_other_image_features_and_the_same_texts(
    base: TowerBackbone, update: TowerUpdate, pixels: torch.Tensor
) -> None:
    ref = TunedRef(resolve("tiny", device="cpu"), update)
    tuned = ref.load()
    module = base.image_module().eval()
    update.apply(module.state_dict())
    torch.testing.assert_close(tuned.images(pixels).x, module(pixels).detach(), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(tuned.images(pixels).x, base.images(pixels).x)
    assert torch.equal(tuned.texts(["a seven"]), base.texts(["a seven"]))
    assert tuned.digest == ref.digest != base.digest
    assert ref.load() is tuned
    assert torch.equal(base.images(pixels).x, resolve("tiny", device="cpu").load().images(pixels).x)


def test_low_rank_factors_are_added(base: TowerBackbone, pixels: torch.Tensor) -> None:
    name = "tower.head.proj.weight"
    weight = base.image_module().state_dict()[name]
    up, down = torch.randn(weight.shape[0], 2), torch.randn(2, weight.shape[1])
    factors = TowerUpdate(base.spec, base.digest, {}, {name: (up, down)})
    whole = TowerUpdate(base.spec, base.digest, {name: weight + up @ down})
    found = [TunedRef(resolve("tiny", device="cpu"), u).load().images(pixels).x for u in (factors, whole)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_a_folder_opens_again(update: TowerUpdate, pixels: torch.Tensor, tmp_path: Path) -> None:
    ref = resolve("tiny", device="cpu")
    save_tuned(tmp_path, update, ref.describe())
    again = resolve(f"folder:{tmp_path}", device="cpu")
    assert again.digest == TunedRef(ref, update).digest
    assert torch.equal(again.load().images(pixels).x, TunedRef(ref, update).load().images(pixels).x)
    assert again.describe()["base"] == "tiny"


def test_a_tuned_tower_can_be_tuned_again(update: TowerUpdate, pixels: torch.Tensor, tmp_path: Path) -> None:
    save_tuned(tmp_path / "once", update, resolve("tiny", device="cpu").describe())
    once = resolve(f"folder:{tmp_path / 'once'}", device="cpu")
    save_tuned(tmp_path / "twice", update, once.describe())
    twice = resolve(f"folder:{tmp_path / 'twice'}", device="cpu")
    assert torch.equal(once.load().images(pixels).x, twice.load().images(pixels).x)
    assert once.digest != twice.digest


def classifier(update: TowerUpdate) -> Classifier:
    head = LinearHead(torch.randn(3, 128, generator=torch.Generator().manual_seed(1)))
    ref = resolve("tiny", device="cpu")
    return Classifier(Fitted(head, tower=update, trace=FitTrace()), NAMES, backbone=ref.describe(), device="cpu")


def test_a_classifier_keeps_its_tower(update: TowerUpdate, tmp_path: Path) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8) for i in range(4)]
    made = classifier(update)
    expected = made.predict_proba(images)
    made.save(tmp_path / "c")
    loaded = Classifier.load(tmp_path / "c", device="cpu")
    assert np.array_equal(loaded.predict_proba(images), expected)
    plain = Classifier(Fitted(made.fitted.head), NAMES, backbone=made.backbone, device="cpu")
    assert not np.allclose(plain.predict_proba(images), expected)
    assert json.loads((tmp_path / "c" / "classifier.json").read_text())["format"] == 2


def test_the_tower_of_a_classifier_is_a_backbone(update: TowerUpdate, pixels: torch.Tensor, tmp_path: Path) -> None:
    classifier(update).save(tmp_path / "c")
    expected = TunedRef(resolve("tiny", device="cpu"), update).load().images(pixels).x
    for spec in (f"folder:{tmp_path / 'c'}", f"folder:{tmp_path / 'c' / TOWER}"):
        assert torch.equal(resolve(spec, device="cpu").load().images(pixels).x, expected)


def test_a_classifier_without_a_tower_is_no_backbone(update: TowerUpdate, tmp_path: Path) -> None:
    made = classifier(update)
    made.save(tmp_path)
    plain = Classifier(Fitted(made.fitted.head), NAMES, backbone=made.backbone)
    plain.save(tmp_path, overwrite=True)
    assert not (tmp_path / TOWER).exists()
    assert json.loads((tmp_path / "classifier.json").read_text())["format"] == 1
    with pytest.raises(BackboneError, match="left its backbone as it was"):
        resolve(f"folder:{tmp_path}")


def test_features_of_another_tower_are_refused(update: TowerUpdate) -> None:
    made = classifier(update)
    with pytest.raises(NeedsError, match="another image tower"):
        made.fitted(Features(torch.randn(2, 128)))
    with pytest.raises(NeedsError, match="another image tower"):
        Fitted(made.fitted.head)(Features(torch.randn(2, 128), tower=update.digest))


def test_what_is_damaged_is_refused(update: TowerUpdate, tmp_path: Path) -> None:
    path = save_tuned(tmp_path, update, resolve("tiny", device="cpu").describe())
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(FormatError, match="its hash differs"):
        load_update(tmp_path)
    path.write_bytes(blob[:100])
    with pytest.raises(FormatError, match="damaged"):
        resolve(f"folder:{tmp_path}")
    with pytest.raises(FormatError, match="points outside"):
        load_update(tmp_path, "../x", "y")


def test_another_base_is_refused(update: TowerUpdate, tmp_path: Path) -> None:
    described = resolve("tiny", device="cpu").describe()
    save_tuned(tmp_path, update, {**described, "files": {"weights": "0" * 64}})
    with pytest.raises(BackboneError, match="other weights of tiny"):
        resolve(f"folder:{tmp_path}")


def test_an_update_of_another_model_is_refused(base: TowerBackbone) -> None:
    update = TowerUpdate(base.spec, base.digest, {"tower.none": torch.zeros(3)})
    with pytest.raises(BackboneError, match="another model"):
        TunedRef(resolve("tiny", device="cpu"), update).load()


def test_a_black_box_has_no_tower_to_change(update: TowerUpdate) -> None:
    with pytest.raises(BackboneError, match="no weights at hand"):
        TunedRef(resolve("endpoint:http://127.0.0.1:9"), update)
