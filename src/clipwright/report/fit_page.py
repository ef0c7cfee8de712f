"""The page about one fit: how well it does on images it did not learn from, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipwright.classifier import Classifier
from clipwright.data.dataset import Dataset
from clipwright.protocol.evaluation import Evaluation
from clipwright.protocol.generated_gap import GeneratedGap
from clipwright.protocol.runner import versions as versions_here
from clipwright.report.elements import Calibration, Candidate, Fact, Figures, Reason, Score, Setting
from clipwright.report.facts import HOW, identity, prompts, shown, versions
from clipwright.report.generated import made_images
from clipwright.report.group_part import LISTED
from clipwright.report.outcomes import Outcomes
from clipwright.report.page import Headline, Page, Part
from clipwright.report.text import count, duration, percent

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
    made: GeneratedGap | None = None,
    why: tuple[tuple[Reason, ...], tuple[Reason, ...]] = ((), ()),
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
        made: the generated images that it was given, beside the real ones.
        why: what texts say for the classes that were named, and for some images.
        skipped: (image, reason) of each image left out.
        command: the command that was run.
    """
    card, trace = classifier.card, classifier.fitted.trace
    method = _method(card)
    spec = classifier.backbone["spec"] if classifier.backbone else "ready-made features"
    candidates = _candidates(card)
    part = Part(
        headline=_headline(card, evaluation, names_alone),
        scores=_scores(classifier, evaluation, names_alone),
        scores_note="The 95 % interval covers the scored images only (Wilson), not another choice of labelled images."
        if evaluation
        else "",
        candidates=candidates,
        choice=str(card.get("reason", "")) if candidates else "",
        made=made_images(classifier, made, dataset),
        galleries=(
            *(outcomes.galleries(dataset) if outcomes else ()),
            *(guesses.unlabeled_galleries(dataset) if guesses else ()),
        ),
        why_classes=why[0],
        why_images=why[1],
        classes=outcomes.class_scores() if outcomes else (),
        counted=f"Counted on {evaluation.n:,} {''.join(_BASIS[evaluation.split])}." if evaluation else "",
        confusions=outcomes.confusions() if outcomes else (),
        matrix=outcomes.matrix() if outcomes else None,
        calibration=_calibration(classifier, evaluation, outcomes) if evaluation and outcomes else None,
        facts=_facts(classifier, command),
        settings=tuple(
            Setting(str(card.get("method")), name, shown(value), HOW.get(trace.how.get(name, ""), "not recorded"))
            for name, value in trace.chosen.items()
        ),
        notes=_notes(classifier, evaluation, names_alone),
        skipped=tuple(skipped[:LISTED]),
        n_skipped=len(skipped),
    )
    return Page(
        title=str(card.get("data", "A classifier")),
        subtitle=f"{count(len(classifier.class_names), 'class', 'classes')}, {method}, backbone {spec}",
        parts=(part,),
    )


def _method(card: Mapping[str, Any]) -> str:
    """What was fitted; where the method chose among others, which it took."""
    name = str(card.get("method", "classifier"))
    return f"{card['picked']} (picked by {name})" if card.get("picked") else name


def _candidates(card: dict[str, Any]) -> tuple[Candidate, ...]:
    """The methods that a choice was made among, as the card tells; rows that it doesn't tell well are left out."""
    rows = card.get("candidates")
    found = [row for row in rows if isinstance(row, dict) and "method" in row] if isinstance(rows, list) else []
    return tuple(
        Candidate(
            str(row["method"]),
            **{name: _number(row.get(name)) for name in ("right", "of", "log_loss", "error", "seconds")},
            picked=bool(row.get("picked")),
        )
        for row in found
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _calibration(classifier: Classifier, evaluation: Evaluation, outcomes: Outcomes) -> Calibration:
    before, after = outcomes.reliability()
    said = Figures(
        str(classifier.card.get("method", "classifier")),
        ece=_pair(outcomes, evaluation, "ece", calibrated=bool(after)),
        nll=_pair(outcomes, evaluation, "nll", calibrated=bool(after)),
        brier=_pair(outcomes, evaluation, "brier", calibrated=bool(after)),
        aurc=evaluation.aurc,
        temperature=classifier.temperature if after else None,
    )
    note = f"Counted on {evaluation.n:,} {''.join(_BASIS[evaluation.split])}. {classifier.card.get('calibration', '')}"
    if after and evaluation.split == "out of fold":
        note += " The temperature was fitted on these same answers, so the figures after it are a little too good."
    return Calibration(before, after, (said,), note.strip())


def _pair(
    outcomes: Outcomes, evaluation: Evaluation, name: str, *, calibrated: bool
) -> tuple[float | None, float | None]:
    """A figure before and after the temperature; the evaluation's is after it, where there is one."""
    stated = float(getattr(evaluation, name))
    return (outcomes.figures_before.get(name), stated) if calibrated else (stated, None)


def _headline(card: dict[str, Any], evaluation: Evaluation | None, names_alone: Evaluation | None) -> Headline | None:
    if evaluation is None:
        return None
    scored, manner = _BASIS[evaluation.split]
    if not _learned(card):
        manner = ""  # one fit, from names, answered them all
    right = f"{percent(evaluation.top1)} of {evaluation.n:,} {scored} right"
    sentence = f"{_method(card)} names {right}, {_labels(card)}{manner}."
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
        under=_used(card),
    )
    if other is None:
        return (mine,)
    return (Score(0, "ZeroShot", other.top1, other.low, other.high, under="names only"), mine)


def _used(card: dict[str, Any]) -> str:
    """Small words about labels per class, where classes differ."""
    per_class = card.get("labels_per_class") or [0]
    if not any(per_class):
        return "names only"
    return "" if min(per_class) == max(per_class) else f"{min(per_class)} to {max(per_class)}"


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
        Fact("Method", f"{_method(card)}. {card.get('reason', '')}"),
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
