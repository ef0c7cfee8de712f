"""Classes of the data among those of a classifier, and classifiers of classes that were not fitted on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.classifier import Classifier
from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.data.benchmarks import find_benchmark, listed_classes
from clipwright.methods.taskres import TaskRes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.protocol.transfer import extended, extending_method, knows_none, map_classes, read_class_index
from clipwright.task import Features, Task, TextFeatures

KNOWN = ("tench", "polar bear", "missile (n1)", "missile (n2)", "T-Shirt", "Tie", "tie")


def test_by_name_in_any_order() -> None:
    assert map_classes(["t_shirt", "tench"], KNOWN).tolist() == [4, 0]
    assert map_classes(["Polar-Bear"], KNOWN).tolist() == [1]
    assert map_classes(["tie", "Tie"], KNOWN).tolist() == [6, 5]  # exact spelling first
    assert map_classes(["missile (n2)"], KNOWN).tolist() == [3]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["missile"], r"'missile' may be any of the classifier's 'missile \(n1\)', 'missile \(n2\)': say which with"),
        (["TIE"], "'TIE' may be any of the classifier's 'Tie', 'tie'"),
        (["tench", "llama", "wasp"], r"does not know the class 'llama' \(2 unknown\): .* --class-index"),
        (["polar bear", "Polar_Bear"], "'polar bear', 'Polar_Bear' of the data are one class"),
    ],
)
def test_names_that_do_not_tell(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        map_classes(names, KNOWN)


def test_by_number() -> None:
    assert map_classes(["missile", "anything"], KNOWN, [3, 0]).tolist() == [3, 0]
    with pytest.raises(DataError, match="has 1 numbers but the data has 2 classes"):
        map_classes(["a", "b"], KNOWN, [1])
    with pytest.raises(DataError, match="goes up to 7 but the classifier has 7 classes: numbers run from 0 to 6"):
        map_classes(["a"], KNOWN, [7])


def test_class_numbers_come_from_a_file_a_list_or_a_known_name(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    path.write_text("# two\n3\n0\n")
    assert read_class_index(path) == read_class_index(str(path)) == read_class_index([3, 0]) == (3, 0)
    for name in ("imagenet-a", "ImageNet-R", "imagenet_r"):
        assert read_class_index(name) == listed_classes(find_benchmark(name))
    for wrong in ("nowhere.txt", "dtd"):
        with pytest.raises(DataError, match=rf"no class index {wrong}: give a file .* imagenet_a, imagenet_r"):
            read_class_index(wrong)
    with pytest.raises(DataError, match="number 3 twice"):
        read_class_index([3, 3])
    path.write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(DataError, match="can't be read as text"):
        read_class_index(path)


@pytest.fixture
def texts() -> TextFeatures:
    return TextFeatures(torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 0], [5, 0, 1]]))


def classifier(method: ZeroShot | TaskRes, texts: TextFeatures) -> Classifier:
    support = Features(torch.eye(3), torch.arange(3))
    fitted = method.fit(Task(("a", "b", "c"), texts.of_classes(range(3)), support))
    return Classifier(fitted, ("a", "b", "c"), backbone=None, card={"method": type(method).__name__})


def test_zero_shot_classifies_new_classes_by_their_texts(texts: TextFeatures) -> None:
    known = classifier(ZeroShot(averaging="raw_mean"), texts)
    method = extending_method(known)
    assert method == ZeroShot(averaging="raw_mean")
    fitted = extended(known, ("d", "e"), texts.of_classes([3, 4]), 10.0)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    rows = torch.nn.functional.normalize(texts.x[3:], dim=1)
    torch.testing.assert_close(fitted(Features(x)), 10 * torch.nn.functional.normalize(x, dim=1) @ rows.T)
    with pytest.raises(NeedsError, match="text features"):
        extended(known, ("d", "e"), None, 10.0)


def test_what_can_not_be_extended_says_so(texts: TextFeatures) -> None:
    with pytest.raises(NeedsError, match="TaskRes can't score classes that it was not fitted on"):
        extending_method(classifier(TaskRes(epochs=1), texts))
    stranger = classifier(ZeroShot(), texts)
    stranger.card.clear()
    with pytest.raises(UsageError, match="doesn't say which method"):
        extending_method(stranger)


def test_whether_any_class_is_known(texts: TextFeatures) -> None:
    known = classifier(ZeroShot(), texts)
    assert knows_none(known, ["d", "e"])
    assert not knows_none(known, ["d", "A"])
