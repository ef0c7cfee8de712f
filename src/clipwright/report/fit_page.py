"""The page about one fit: how well it does on images it did not learn from, and what it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipwright.classifier import Classifier
from clipwright.data.dataset import Dataset
from clipwright.protocol.evaluation import Evaluation
from clipwright.protocol.runner import versions as versions_here
from clipwright.report.facts import HOW, identity, prompts, shown, versions
from clipwright.report.outcomes import Outcomes
from clipwright.report.page import Fact, Headline, Page, Score, Setting
from clipwright.report.text import count, duration, percent

_LISTED = 200  # skipped images named on the page; the rest is counted
_WIDE = 0.2  # an interval of twenty points says little
_BASIS = {
    "held out": ("held-out images", ""),
    "out of fold": ("labelled images", ", each answered by a fit that did not see it"),
}


def fit_page(
    classifier: Classifier,
    *,
    evaluation: Evaluation | None = None,
    names_alone: Evaluation | None = None,
    outcomes: Outcomes | None = None,
    guesses: Outcomes | None = None,
    dataset: Dataset | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    command: str = "",
) -> Page:
    """Lay out one fit as a page.

    Args:
        classifier: what was fitted.
        evaluation: its figures on labelled rows that it had not seen, or None where there are none.
        names_alone: the figures of the names alone on the same rows, or None.
        outcomes: what was said of each of these rows.
        guesses: what was said of unlabeled rows; their labels are -1.
        dataset: where thumbnails are read from.
        skipped: (image, reason) of each image left out.
        command: the command that was run.
    """
    card, trace = classifier.card, classifier.fitted.trace
    method = str(card.get("method", "classifier"))
    spec = classifier.backbone["spec"] if classifier.backbone else "ready-made features"
    return Page(
        title=str(card.get("data", "A classifier")),
        subtitle=f"{count(len(classifier.class_names), 'class', 'classes')}, {method}, backbone {spec}",
        headline=_headline(card, evaluation, names_alone),
        scores=_scores(classifier, evaluation, names_alone),
        scores_note="The 95 % interval covers the scored images only (Wilson), not another choice of labelled images."
        if evaluation
        else "",
        galleries=(
            *(outcomes.galleries(dataset) if outcomes else ()),
            *(guesses.unlabeled_galleries(dataset) if guesses else ()),
        ),
        classes=outcomes.class_scores() if outcomes else (),
        classes_note=f"Counted on {evaluation.n:,} {''.join(_BASIS[evaluation.split])}." if evaluation else "",
        confusions=outcomes.confusions() if outcomes else (),
        facts=_facts(classifier, command),
        settings=tuple(
            Setting(method, name, shown(value), HOW.get(trace.how.get(name, ""), "not recorded"))
            for name, value in trace.chosen.items()
        ),
        notes=_notes(classifier, evaluation, names_alone),
        skipped=tuple(skipped[:_LISTED]),
        n_skipped=len(skipped),
    )


def _headline(card: dict[str, Any], evaluation: Evaluation | None, names_alone: Evaluation | None) -> Headline | None:
    if evaluation is None:
        return None
    scored, manner = _BASIS[evaluation.split]
    if not _learned(card):
        manner = ""  # one fit, from names, answered them all
    right = f"{percent(evaluation.top1)} of {evaluation.n:,} {scored} right"
    sentence = f"{card.get('method')} names {right}, {_labels(card)}{manner}."
    aside = f"Names alone give {percent(names_alone.top1)} of the same images." if names_alone else ""
    return Headline(evaluation.top1, evaluation.low, evaluation.high, sentence, aside)


def _learned(card: dict[str, Any]) -> bool:
    """Whether the fit had any labels."""
    return any(card.get("labels_per_class") or ())


def _labels(card: dict[str, Any]) -> str:
    """How many labels the fit had."""
    per_class = card.get("labels_per_class") or [0]
    low, high = min(per_class), max(per_class)
    if not high:
        return "from names alone"
    return f"from {count(low, 'label') if low == high else f'{low} to {high} labels'} per class"


def _scores(classifier: Classifier, evaluation: Evaluation | None, names_alone: Evaluation | None) -> tuple[Score, ...]:
    if evaluation is None:
        return ()
    card, trace = classifier.card, classifier.fitted.trace
    labels = float(np.mean(card.get("labels_per_class") or [0]))
    e, other = evaluation, names_alone
    mine = Score(
        round(labels),
        str(card.get("method")),
        e.top1,
        e.low,
        e.high,
        seconds_fit=trace.seconds,
        macro=e.macro,
        labels_per_class=labels,
    )
    if other is None:
        return (mine,)
    return (Score(0, "ZeroShot", other.top1, other.low, other.high, macro=other.macro, labels_per_class=0.0), mine)


def _facts(classifier: Classifier, command: str) -> tuple[Fact, ...]:
    card, trace = classifier.card, classifier.fitted.trace
    images = card.get("images", {})
    learned = [
        count(images[role], noun)
        for role, noun in (("support", "labelled image"), ("validation", "validation image"))
        if images.get(role) and _learned(card)
    ]
    return (
        *([Fact("Command", command, code=True)] if command else []),
        Fact("Method", f"{card.get('method')}. {card.get('reason', '')}"),
        Fact("Learned from", ", ".join(["class names", *learned])),
        *(
            [Fact("Scored on", f"{count(images['held_out'], 'image')} held out, once")]
            if images.get("held_out")
            else []
        ),
        *prompts(list(card.get("templates", []))),
        *(
            identity(classifier.backbone["spec"], classifier.backbone["digest"], str(card.get("data_digest", "")))
            if classifier.backbone
            else []
        ),
        Fact("Confidence", f"temperature {classifier.temperature:.3g}. {card.get('calibration', '')}"),
        Fact("Seed", str(card.get("seed", 0))),
        Fact(
            "Time",
            f"{duration(float(card.get('seconds_prepare', 0)))} features and texts, {duration(trace.seconds)} the fit",
        ),
        versions(versions_here()),
    )


def _notes(classifier: Classifier, evaluation: Evaluation | None, names_alone: Evaluation | None) -> tuple[str, ...]:
    found = [*classifier.card.get("notes", ()), *classifier.fitted.trace.notes]
    if evaluation is None:
        found.insert(0, "No labelled image was left to score, so no accuracy is stated: label a few to get one.")
    elif names_alone and names_alone.top1 > evaluation.top1:
        found.insert(0, "On the scored images names alone did better than the fitted classifier: consider ZeroShot.")
    if evaluation and evaluation.split == "out of fold" and _learned(classifier.card):
        found.append(
            "The classifier learned from all labelled images; those that scored it learned from fewer, so the accuracy "
            "stated is a cautious estimate."
        )
    if evaluation and evaluation.high - evaluation.low > _WIDE:
        found.append("Few images were scored, so the interval is wide: label more images to narrow it.")
    return tuple(dict.fromkeys(found))
