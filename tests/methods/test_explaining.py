"""Which texts decided: the lead is shared out without rest, and whoever speaks for the winner is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.methods.coder import CODER
from clipwright.methods.example import example
from clipwright.methods.explaining import Explainer
from clipwright.task import Features, Need, Task, TextFeatures

WORDS = ("a hen", "a comb", "feathers", "a duck", "webbed feet", "a drake", "a goose")
KINDS = ("name", "attribute", "attribute", "name", "attribute", "synonym", "name")
CLASSES = (0, 0, 0, 1, 1, 1, 2)


def bank() -> TextFeatures:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((7, 6)))
    return TextFeatures(x, torch.tensor(CLASSES), KINDS, texts=WORDS)


def images(n: int = 40) -> Features:
    return Features(torch.from_numpy(np.random.default_rng(2).standard_normal((n, 6))))


def test_it_explains_the_method() -> None:
    text, x = bank(), images()
    scores = Explainer(text).scores(x)
    fitted = CODER().fit(Task(("hen", "duck", "goose"), text))
    torch.testing.assert_close(100 * scores, fitted(x))


def test_the_lead_is_shared_out_without_rest() -> None:
    text, x = bank(), images()
    explainer = Explainer(text)
    scores = explainer.scores(x)
    for row, why in zip(scores, explainer.explain(x, top=99), strict=True):
        top = row.topk(2)
        assert (why.winner, why.runner_up) == tuple(top.indices.tolist())
        assert why.lead == pytest.approx(float(top.values[0] - top.values[1]))
        assert sum(said.share for said in why.winning) == pytest.approx(why.lead)
        assert sum(said.share for said in why.losing) == pytest.approx(why.lead)
        shares = [said.share for said in why.winning]
        assert shares == sorted(shares, reverse=True)


def test_texts_are_named_with_their_cosines() -> None:
    text, x = bank(), images()
    rows = text.x / text.x.norm(dim=1, keepdim=True)
    why = Explainer(text).explain(x, top=99)
    for i, u in enumerate(x.unit_x()):
        for said in (*why[i].winning, *why[i].losing):
            assert said.text == WORDS[said.row]
            assert said.kind == KINDS[said.row]
            assert said.class_index == CLASSES[said.row]
            assert said.cosine == pytest.approx(float(u @ rows[said.row]))
        of_ducks = [s.text for s in (*why[i].winning, *why[i].losing) if s.class_index == 1]
        if of_ducks:
            assert len({"a duck", "a drake"} & set(of_ducks)) == 1, "the nearest of its names speaks for a class"


def test_another_heads_answers_can_be_explained() -> None:
    x = images(4)
    for why in Explainer(bank()).explain(x, winners=torch.tensor([2, 2, 0, 1])):
        assert why.runner_up != why.winner
    assert [why.winner for why in Explainer(bank()).explain(x, winners=torch.tensor([2, 2, 0, 1]))] == [2, 2, 0, 1]


def test_a_class_is_explained_by_the_mean_of_its_images() -> None:
    text, x = bank(), images()
    explainer = Explainer(text)
    scores = explainer.scores(x)
    found = explainer.explain_classes(x, top=99)
    assert set(found) == set(scores.argmax(1).tolist())
    for winner, why in found.items():
        of = scores[scores.argmax(1) == winner]
        assert why.lead == pytest.approx(float((of[:, winner] - of[:, why.runner_up]).mean()))
        assert sum(said.share for said in why.winning) == pytest.approx(why.lead)
        assert sum(said.share for said in why.losing) == pytest.approx(why.lead)
    assert all(len(why.winning) <= 1 for why in explainer.explain_classes(x, top=1).values())


def test_templates_alone_are_one_text_per_class() -> None:
    case = example({Need.TEXT})
    assert case.task.text is not None
    for why in Explainer(case.task.text).explain(case.test):
        assert [(said.row, said.kind) for said in why.winning] == [(-1, "name")]
        assert why.winning[0].share == pytest.approx(why.lead)


def test_what_tells_two_classes_apart_is_shared_out_too() -> None:
    plain, more = bank(), torch.from_numpy(np.random.default_rng(3).standard_normal((5, 6)))
    of, against = torch.tensor([0, 0, 1, 0, 2]), torch.tensor([1, 1, 0, 2, 1])
    text = TextFeatures(
        torch.cat([plain.x, more]),
        torch.cat([plain.classes, of]),
        KINDS + ("one-vs-one",) * 5,
        torch.cat([plain.rivals, against]),
    )
    rows, x = more / more.norm(dim=1, keepdim=True), images()
    found = Explainer(text).explain(x, top=99)
    seen = set()
    for u, why in zip(x.unit_x(), found, strict=True):
        contrast = {(0, 1): rows[[0, 1]].mean(0) - rows[2], (1, 0): rows[2] - rows[[0, 1]].mean(0)}
        pair = (why.winner, why.runner_up)
        seen.add(pair)
        if pair in contrast:
            assert why.contrast == pytest.approx(float(u @ contrast[pair]))
            assert sum(said.share for said in why.between) == pytest.approx(why.contrast)
            assert {said.row for said in why.between} == ({7, 8} if pair == (0, 1) else {9})
        else:
            assert (why.contrast, why.between) == (0.0, ())
    assert {(0, 1), (1, 0)} < seen
    assert all(why.between == () for why in Explainer(text, kinds=("attribute",)).explain(x))


def test_a_single_class_has_no_runner_up() -> None:
    case = example({Need.TEXT}, classes=1)
    assert case.task.text is not None
    why = Explainer(case.task.text).explain(case.test)[0]
    assert (why.runner_up, why.losing) == (-1, ())
    assert Explainer(case.task.text).explain_classes(case.test)[0].runner_up == -1
