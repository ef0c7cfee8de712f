"""CuPL, DCLIP and WaffleCLIP against plain loops over texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.core.errors import NeedsError
from clipwright.methods.coder import CODER
from clipwright.methods.cupl import CuPL
from clipwright.methods.dclip import DCLIP
from clipwright.methods.example import example
from clipwright.methods.text_means import rows_of
from clipwright.methods.waffleclip import WaffleCLIP
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task, TextFeatures

KINDS = ("template", "template", "description", "description", "description", "attribute", "name", "one-vs-one")
CLASSES, RIVALS = (0, 1, 0, 0, 1, 0, 2, 1), (-1,) * 7 + (0,)
NAMES = ("a", "b", "c")


def task() -> Task:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 5)))
    return Task(NAMES, TextFeatures(x, torch.tensor(CLASSES), KINDS, torch.tensor(RIVALS)))


def by_hand(rows: list[list[int]], x: np.ndarray, *, renormalised: bool) -> np.ndarray:
    """Logits of unit rows from the text rows of each class."""
    given = task().text
    assert given is not None
    texts = given.x.numpy() / np.linalg.norm(given.x, axis=1, keepdims=True)
    logits = np.zeros((len(x), 3))
    for c, members in enumerate(rows):
        mean = texts[members].mean(0)
        scores = np.mean([x @ texts[t] for t in members], axis=0)
        logits[:, c] = 100 * (scores / np.linalg.norm(mean) if renormalised else scores)
    return logits


X = Features(torch.from_numpy(np.random.default_rng(1).standard_normal((6, 5))))


@pytest.mark.parametrize(
    ("method", "rows", "renormalised"),
    [
        (CuPL(), [[2, 3], [4], [6]], True),
        (CuPL(templates=True), [[0, 2, 3], [1, 4], [6]], True),
        (DCLIP(), [[2, 3, 5], [4], [6]], False),
        (DCLIP(kinds=("attribute",)), [[5], [1], [6]], False),
        (WaffleCLIP(), [[0], [1], [6]], False),
        (WaffleCLIP(kind="description"), [[2, 3], [4], [6]], False),
    ],
    ids=str,
)
def test_it_is_the_formula(method: CuPL, rows: list[list[int]], renormalised: bool) -> None:
    expected = by_hand(rows, X.unit_x().numpy(), renormalised=renormalised)
    np.testing.assert_allclose(method.fit(task())(X), expected, atol=1e-10)


def test_classes_without_such_texts_are_counted() -> None:
    notes = DCLIP(kinds=("attribute",)).fit(task()).trace.notes
    assert notes == ["2 of 3 classes have no text of kind attribute: their names stand in."]
    assert WaffleCLIP().fit(example({Need.TEXT}).task).trace.notes == []
    with pytest.raises(NeedsError, match="text features"):
        rows_of(Task(NAMES), {"description"})


@pytest.mark.parametrize("method", [CODER(), CuPL(), DCLIP(), WaffleCLIP()], ids=lambda m: m.title)
def test_with_one_template_per_class_they_are_all_zero_shot(method: CuPL) -> None:
    case = example({Need.TEXT})
    assert case.task.text is not None
    single = Task(case.task.class_names, case.task.text[:5])
    torch.testing.assert_close(method.fit(single)(case.test), ZeroShot().fit(single)(case.test))


@pytest.mark.parametrize("method", [CuPL(), DCLIP(), WaffleCLIP()], ids=lambda m: m.title)
def test_other_classes_follow_from_their_texts(method: CuPL) -> None:
    given = task().text
    assert given is not None
    fitted, other = method.fit(task()), Task(("q", "p"), given.of_classes([1, 0]))
    torch.testing.assert_close(method.extend(fitted, other)(X), fitted(X)[:, [1, 0]])
