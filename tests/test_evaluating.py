"""Finished classifiers on other classes: domain generalisation, and base to new."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clipwright as cw
from clipwright import api
from clipwright.assets import datasets as embedded
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.evaluating import scored_part
from clipwright.features import FeatureStore, default_folder, is_complete
from clipwright.heads.base import Head
from clipwright.protocol.prepare import prepare

DOMAINS = ("shapes", *(name for name in ("shapes-sketch", "shapes-stipple") if name in embedded.names()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _shared_home(home: Path, monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(home))


def some(name: str, split: str, each: int) -> Dataset:
    """The first images of each class in one split of an embedded data set."""
    data = cw.open_data(name)
    rows = [np.flatnonzero((data.labels == c) & (data.splits == split))[:each] for c in range(len(data.class_names))]
    return data.take(np.concatenate(rows))


def reordered(data: Dataset, classes: list[int]) -> Dataset:
    """The images of some classes, which stand in another order."""
    kept = data.take(np.flatnonzero(np.isin(data.labels, classes)))
    return kept.align([data.class_names[c] for c in classes])


class Share(Head):
    """Probabilities among the classes it has: what one class gets depends on which others compete."""

    def __init__(self, head: Head, odds: torch.Tensor) -> None:
        super().__init__()
        self.head, self.odds = head, odds

    @property
    def n_classes(self) -> int:
        return len(self.odds)

    def restrict(self, class_index: torch.Tensor) -> Head:
        return Share(self.head.restrict(class_index), self.odds[class_index])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares = torch.softmax(self.head(x), dim=1)
        return shares - shares.mean(1, keepdim=True) * self.odds


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
@pytest.mark.parametrize("domain", DOMAINS)
def test_shapes_to_another_domain_with_classes_dropped_and_permuted(domain: str) -> None:
    classifier = cw.fit(some("shapes", "train", 4), backbone="tiny", method="TaskRes", quiet=True)
    n = len(classifier.class_names)
    chosen = [n - 1, 2, 5, 0, 3]
    target = reordered(some(domain, "test", 6), chosen)

    # by hand: the logits of all source classes, then the columns of the target's classes
    features = prepare(target, classifier.backbone_ref(), texts=False, quiet=True).features
    logits = classifier.logits(features).double().numpy()
    assert logits.shape == (30, n)
    right = logits[:, chosen].argmax(1) == target.labels

    found = cw.evaluate(classifier, target, quiet=True)
    assert found.n == 30
    assert found.top1 == right.mean()
    assert list(found.per_class) == [classifier.class_names[c] for c in chosen]
    for place, figures in enumerate(found.per_class.values()):
        assert figures["accuracy"] == right[target.labels == place].mean()

    # the same by number, where names say nothing, and in a wrong order
    nameless = dataclasses.replace(target, class_names=tuple(f"class {i}" for i in range(5)))
    assert cw.evaluate(classifier, nameless, class_index=chosen, quiet=True).top1 == found.top1
    wrong = (logits[:, chosen[1:] + chosen[:1]].argmax(1) == target.labels).mean()
    assert cw.evaluate(classifier, nameless, class_index=chosen[1:] + chosen[:1], quiet=True).top1 == wrong
    with pytest.raises(DataError, match="does not know the class 'class 0'"):
        cw.evaluate(classifier, nameless, quiet=True)

    # a head that lets its classes compete is restricted itself
    odds = torch.linspace(0, 3, n)
    head = Share(classifier.fitted.head, odds)
    rival = cw.Classifier(cw.Fitted(head), classifier.class_names, backbone=classifier.backbone)
    z = logits[:, chosen]
    shares = np.exp(z - z.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    shares -= shares.mean(1, keepdims=True) * odds.double().numpy()[chosen]
    assert cw.evaluate(rival, target, quiet=True).top1 == (shares.argmax(1) == target.labels).mean()


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_what_is_not_scored_is_not_looked_at(tmp_path: Path) -> None:
    classifier = cw.fit(some("shapes", "test", 2), backbone="tiny", method="ZeroShot", quiet=True)
    whole = cw.open_data("shapes")
    data = whole.take(np.concatenate([whole.rows("train")[:40], whole.rows("test")[:50]]))
    part, split = scored_part(data)
    assert (len(part), split) == (50, "test")
    kept = [default_folder(each, classifier.backbone_ref()) for each in (data, part)]
    for wrong, said in (
        (
            dataclasses.replace(data, class_names=tuple(f"c{i}" for i in range(len(data.class_names)))),
            "not know the class",
        ),
        (data.without_labels(), "no labelled images to score"),
    ):
        with pytest.raises(DataError, match=said):
            cw.evaluate(classifier, wrong, quiet=True)
    assert [is_complete(folder) for folder in kept] == [False, False]
    alone = cw.evaluate(classifier, data, quiet=True)
    assert [is_complete(folder) for folder in kept] == [False, True]
    beside = cw.evaluate(classifier, data, store=tmp_path / "store", quiet=True)  # a store is of all the images
    assert FeatureStore.open(tmp_path / "store").meta.rows == 90
    assert (alone.top1, alone.n, alone.split) == (beside.top1, beside.n, beside.split) == (alone.top1, 50, "test")
    cw.extract(data, backbone="tiny", quiet=True)
    assert cw.evaluate(classifier, data, quiet=True).top1 == alone.top1


@pytest.fixture
def bundle(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Seven classes in twelve dimensions, train and test, as a feature bundle."""
    labels = np.arange(140) % 7
    means = rng.normal(size=(7, 12))
    np.savez(
        tmp_path / "features.npz",
        image_features=(means[labels] + rng.normal(size=(140, 12))).astype(np.float32),
        labels=labels,
        class_names=np.array(list("abcdefg")),
        text_features=(means + rng.normal(size=(3, 7, 12)) * 0.8).astype(np.float32),
        split=np.array(["train"] * 70 + ["test"] * 70),
    )
    return tmp_path / "features.npz"


def half(bundle: Path, part: Any) -> Dataset:
    return cw.open_data(bundle, classes_subset=part)


def test_fitted_on_base_scored_on_base_and_new(bundle: Path, tmp_path: Path) -> None:
    fitted = cw.fit(half(bundle, "base"), method="ZeroShot", hyper_parameters={"averaging": "raw_mean"}, quiet=True)
    assert fitted.class_names == ("a", "b", "c", "d")
    classifier = cw.Classifier.load(fitted.save(tmp_path / "base"))
    found = cw.base_to_new(classifier, bundle, quiet=True)

    # by hand: cosines with the mean of the raw texts, each half among its own classes
    arrays = np.load(bundle)
    x, y, text = (arrays[k].astype(np.float64) for k in ("image_features", "labels", "text_features"))
    weight = text.mean(0) / np.linalg.norm(text.mean(0), axis=1, keepdims=True)
    cosine, test = x @ weight.T, arrays["split"] == "test"
    base, new = test & (y < 4), test & (y >= 4)
    assert found.base.top1 == (cosine[base][:, :4].argmax(1) == y[base]).mean()
    assert found.new.top1 == (cosine[new][:, 4:].argmax(1) + 4 == y[new]).mean()
    assert (found.base.n, found.new.n) == (40, 30)
    assert list(found.new.per_class) == ["e", "f", "g"]
    a, b = found.base.top1, found.new.top1
    assert found.harmonic == pytest.approx(2 / (1 / a + 1 / b))
    assert found.as_json()["harmonic"] == found.harmonic

    assert cw.evaluate(classifier, bundle, classes_subset="base").top1 == a
    assert cw.evaluate(classifier, bundle, classes_subset="new").top1 == b
    assert cw.evaluate(classifier, half(bundle, "base")).top1 == a


def test_a_method_that_learns_from_images_can_not_score_new_classes(bundle: Path) -> None:
    classifier = cw.fit(half(bundle, "base"), method="TaskRes", hyper_parameters={"epochs": 3}, quiet=True)
    says = "TaskRes can't score classes that it was not fitted on"
    with pytest.raises(NeedsError, match=says):
        cw.base_to_new(classifier, bundle, quiet=True)
    with pytest.raises(NeedsError, match=says):
        cw.evaluate(classifier, bundle, classes_subset="new")
    assert cw.evaluate(classifier, bundle, classes_subset="base").n == 40


def test_a_classifier_of_all_classes_scores_each_half_among_itself(bundle: Path) -> None:
    classifier = cw.fit(bundle, method="ZeroShot", quiet=True)
    found = cw.evaluate(classifier, bundle, classes_subset="new")
    assert list(found.per_class) == ["e", "f", "g"]
    assert found.top1 >= cw.evaluate(classifier, bundle).macro - 0.5
    with pytest.raises(DataError, match="classifier's 7 classes are not the base half of those of features"):
        cw.base_to_new(classifier, bundle)
    assert not api.is_base(classifier, cw.open_data(bundle))


def test_data_that_is_open_takes_no_root(bundle: Path) -> None:
    with pytest.raises(UsageError, match="a root can't be given"):
        cw.open_data(cw.open_data(bundle), root=bundle.parent)
    assert cw.open_data(cw.open_data(bundle), classes_subset="new").class_names == ("e", "f", "g")


def test_the_harmonic_mean_of_nothing_is_nothing(bundle: Path) -> None:
    found = cw.base_to_new(cw.fit(half(bundle, "base"), method="ZeroShot", quiet=True), bundle)
    assert dataclasses.replace(found, new=dataclasses.replace(found.new, top1=0.0)).harmonic == 0
