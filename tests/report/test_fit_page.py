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


def test_held_out_images_make_the_headline() -> None:
    page = fit_page(
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
    page = fit_page(_classifier(), evaluation=_evaluation(18, "out of fold", 20), outcomes=_outcomes(0))
    assert page.headline is not None
    assert "answered by a fit that did not see it" in page.headline.sentence
    notes = " ".join(page.notes)
    assert "cautious estimate" in notes
    assert "the interval is wide" in notes


def test_a_fit_without_labels_was_not_cross_fitted() -> None:
    page = fit_page(
        _classifier(method="ZeroShot", labels_per_class=[0, 0]), evaluation=_evaluation(180, "out of fold", 200)
    )
    assert page.headline is not None
    assert page.headline.sentence.endswith("200 labelled images right, from names alone.")
    assert "learned from" not in " ".join(page.notes)


def test_nothing_scored_means_no_number() -> None:
    page = fit_page(_classifier(labels_per_class=[0, 0], images={}), guesses=_outcomes(-1))
    assert page.headline is None
    assert not page.scores
    assert "no accuracy is stated" in page.notes[0]
    assert [g.title for g in page.galleries] == ["Unlabeled images", "Least certain"]


def test_a_fit_that_loses_to_names_alone_says_so() -> None:
    page = fit_page(_classifier(), evaluation=_evaluation(70), names_alone=_evaluation(80))
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
