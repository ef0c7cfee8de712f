"""What the page about a fit says of what was measured, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clipwright.classifier import Classifier
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.protocol.evaluation import Evaluation, evaluate_logits
from clipwright.report.fit_page import fit_page
from clipwright.report.outcomes import Outcomes
from clipwright.report.page import Part
from clipwright.report.render import render

_NAMES = ("cat <b>", "dog")


def _classifier(**card: Any) -> Classifier:
    trace = FitTrace(chosen={"alpha": 0.5}, how={"alpha": "rule"}, notes=["A note of the fit."], seconds=0.25)
    base = {
        "method": "TaskRes",
        "reason": "There are names and labels.",
        "data": 'pets "<i>"',
        "labels_per_class": [4, 4],
        "images": {"support": 8, "held_out": 100},
        "templates": ["a photo of a {}."],
        "calibration": "Calibrated on the labels.",
        "seed": 3,
        "notes": ["A note of the data."],
    }
    fitted = Fitted(LinearHead(torch.eye(2)), trace=trace)
    backbone = {"spec": "tiny", "digest": "b" * 64}
    return Classifier(fitted, _NAMES, backbone=backbone, temperature=1.3, card=base | card)


def _evaluation(right: int, split: str = "held out", total: int = 100) -> Evaluation:
    labels = np.zeros(total, dtype=int)
    logits = np.stack([np.arange(total) < right, np.arange(total) >= right], axis=1).astype(float)
    return evaluate_logits(logits, labels, _NAMES, split=split)


def _outcomes(label: int) -> Outcomes:
    return Outcomes(["a", "b"], np.full(2, label), np.array([0, 1]), np.array([0.9, 0.6]), _NAMES)


def _part(classifier: Classifier, **more: Any) -> Part:
    (found,) = fit_page(classifier, **more).parts
    return found


def test_held_out_images_make_the_headline() -> None:
    page = _part(
        _classifier(), evaluation=_evaluation(90), names_alone=_evaluation(80), outcomes=_outcomes(0), command="fit"
    )
    assert page.headline is not None
    assert page.headline.share == 0.9
    assert "100 held-out images right" in page.headline.sentence
    assert "from 4 labels per class" in page.headline.sentence
    assert "80.0" in page.headline.aside
    assert [(s.method, s.shots) for s in page.scores] == [("ZeroShot", 0), ("TaskRes", 4)]
    facts = {fact.label: fact.value for fact in page.facts}
    assert facts["Command"] == "fit"
    assert facts["Seed"] == "3"
    assert "temperature 1.3" in facts["Confidence"]
    assert {"A note of the fit.", "A note of the data."} <= set(page.notes)
    assert [(s.name, s.value, s.how) for s in page.settings] == [("alpha", "0.5", "a rule of labels and classes")]


def test_cross_fitted_answers_are_said_to_be() -> None:
    page = _part(_classifier(), evaluation=_evaluation(18, "out of fold", 20), outcomes=_outcomes(0))
    assert page.headline is not None
    assert "answered by a fit that did not see it" in page.headline.sentence
    notes = " ".join(page.notes)
    assert "cautious estimate" in notes
    assert "the interval is wide" in notes


def test_a_fit_without_labels_was_not_cross_fitted() -> None:
    page = _part(
        _classifier(method="ZeroShot", labels_per_class=[0, 0]), evaluation=_evaluation(180, "out of fold", 200)
    )
    assert page.headline is not None
    assert page.headline.sentence.endswith("200 labelled images right, from names alone.")
    assert "learned from" not in " ".join(page.notes)


def test_nothing_scored_means_no_number() -> None:
    page = _part(_classifier(labels_per_class=[0, 0], images={}), guesses=_outcomes(-1))
    assert page.headline is None
    assert not page.scores
    assert "no accuracy is stated" in page.notes[0]
    assert [g.title for g in page.galleries] == ["Unlabeled images", "Least certain of the unlabeled"]


def test_a_fit_that_loses_to_names_alone_says_so() -> None:
    page = _part(_classifier(), evaluation=_evaluation(70), names_alone=_evaluation(80))
    assert "names alone did better" in page.notes[0]


@pytest.mark.parametrize("evaluation", [None, _evaluation(90)])
def test_the_page_renders_with_its_names_as_text(evaluation: Evaluation | None) -> None:
    skipped = (("x'.png", "truncated"),)
    html = render(
        fit_page(_classifier(), evaluation=evaluation, outcomes=_outcomes(0) if evaluation else None, skipped=skipped)
    )
    assert "pets &#34;&lt;i&gt;&#34;" in html
    assert "1 image skipped" in html
    assert "<i>" not in html.replace("<i style", "")


def _calibrated(split: str = "held out", **card: Any) -> Part:
    evaluation = _evaluation(90, split)
    logits = 1.3 * np.stack([np.arange(100) < 90, np.arange(100) >= 90], axis=1)
    said = Outcomes.of_logits([str(i) for i in range(100)], np.zeros(100, dtype=int), logits / 1.3, _NAMES, 1.3)
    return _part(_classifier(**card), evaluation=evaluation, outcomes=said)


def test_confidence_is_shown_before_and_after_the_temperature() -> None:
    found = _calibrated().calibration
    assert found is not None
    (figures,) = found.figures
    assert found.before[0].confidence > found.after[0].confidence
    assert figures.nll[1] == pytest.approx(_evaluation(90).nll)
    assert figures.nll[0] != figures.nll[1]
    assert figures.temperature == 1.3
    assert found.note == "Counted on 100 held-out images. Calibrated on the labels."
    assert "a little too good" in getattr(_calibrated("out of fold").calibration, "note", "")


def test_a_fit_without_a_temperature_says_why() -> None:
    part = _part(
        _classifier(calibration="There are no labels, so confidences are not calibrated."),
        evaluation=_evaluation(90),
        outcomes=_outcomes(0),
    )
    assert part.calibration is not None
    assert part.calibration.after == ()
    assert part.calibration.figures[0].ece[1] is None
    assert "There are no labels" in part.calibration.note


def test_scored_images_have_a_matrix_and_the_least_certain_ones() -> None:
    part = _part(_classifier(), evaluation=_evaluation(90), outcomes=_outcomes(0))
    assert part.matrix is not None
    assert part.matrix.counts == ((1, 1), (0, 0))
    assert [g.title for g in part.galleries] == ["Named right", "Most confident mistakes", "Least certain"]


def test_how_the_method_was_chosen_is_told_where_the_card_knows() -> None:
    rows = [
        {"method": "GDA", "log_loss": 0.3, "error": 0.01, "right": 93, "of": 100, "seconds": 0.2, "picked": True},
        {"method": "TaskRes <b>", "log_loss": float("nan"), "error": None, "seconds": "soon"},
        "no row",
    ]
    part = _part(_classifier(candidates=rows, reason="GDA did best."), evaluation=_evaluation(90))
    assert [(c.method, c.right, c.log_loss, c.seconds, c.picked) for c in part.candidates] == [
        ("GDA", 93, 0.3, 0.2, True),
        ("TaskRes <b>", None, None, None, False),
    ]
    assert part.choice == "GDA did best."
    chosen = _part(_classifier(candidates=rows, method="auto", picked="GDA"), evaluation=_evaluation(90))
    assert chosen.headline is not None
    assert chosen.headline.sentence.startswith("GDA (picked by auto) names 90.0")
    html = render(fit_page(_classifier(candidates=rows)))
    assert ">How the method was chosen</h2>" in html
    assert "TaskRes &lt;b&gt;" in html
    assert "93 of 100" in html
    assert html.count("not scored") == 1
    assert ">How the method was chosen</h2>" not in render(fit_page(_classifier()))
