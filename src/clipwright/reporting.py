"""Pages about a fit and about a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clipwright.data.dataset import Dataset
from clipwright.fitting import FitRun
from clipwright.protocol.results import Results
from clipwright.report import comparison_page, fit_page, write
from clipwright.report.elements import Reason
from clipwright.report.outcomes import Outcomes
from clipwright.report.why import has_texts, reasons


def fit_report(fitted: FitRun, out: Path, *, command: str = "") -> Path:
    """Write the page about a fit to ``out/report.html``.

    Args:
        fitted: what `fit_run` returned.
        out: folder.
        command: the command that was run, for the page.

    Returns:
        path of the page.
    """
    page = fit_page(
        fitted.classifier,
        evaluation=fitted.evaluation,
        names_alone=fitted.names_alone,
        outcomes=_outcomes(fitted),
        guesses=_guesses(fitted),
        dataset=fitted.prepared.dataset,
        made=fitted.made,
        why=_why(fitted),
        skipped=fitted.prepared.problems,
        command=command,
    )
    write(out / "report.html", page)
    return out / "report.html"


def comparison_report(
    results: Results,
    out: Path,
    *,
    datasets: Mapping[str, Dataset] | None = None,
    command: str = "",
    title: str | None = None,
) -> Path:
    """Write the page about a comparison.

    Args:
        results: what `compare` returned, or several runs joined.
        out: a folder, in which ``report.html`` is written, or the path of the page.
        datasets: data sets by name, from which pictures are read; without them images have none.
        command: the command that was run, for the page.
        title: heading; by default the data set's name.

    Returns:
        path of the page.
    """
    page = out if out.suffix.lower() in {".html", ".htm"} else out / "report.html"
    write(page, comparison_page(results, datasets=datasets, title=title, command=command))
    return page


def _outcomes(fitted: FitRun) -> Outcomes | None:
    """What was said of each image that was scored."""
    scored = fitted.scored
    if scored is None:
        return None
    classifier = fitted.classifier
    temperature = None if fitted.out_of_fold is None else classifier.temperature
    return Outcomes.of_logits(scored.ids, scored.labels, scored.logits, classifier.class_names, temperature)


def _why(fitted: FitRun) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """What texts say for the answers, where more is known of the classes than their names."""
    text, said = fitted.task.text, _outcomes(fitted)
    rows = fitted.roles.held_out if said is not None else fitted.roles.unlabeled
    if said is None or fitted.scored is None or fitted.scored.basis != "held out":
        said = _guesses(fitted)
        rows = fitted.roles.unlabeled
    if text is None or said is None or not has_texts(text):
        return (), ()
    features = fitted.prepared.rows(rows)
    return reasons(
        text,
        features,
        said.predicted,
        said.confidence,
        fitted.classifier.class_names,
        labels=said.label,
        dataset=fitted.prepared.dataset,
    )


def _guesses(fitted: FitRun) -> Outcomes | None:
    """What the classifier says of the unlabeled rows."""
    rows = fitted.roles.unlabeled
    if not len(rows):
        return None
    features = fitted.prepared.answering(fitted.fitted, rows)
    p = fitted.classifier.predict_proba(features)
    unknown = np.full(len(rows), -1)
    return Outcomes(features.ids or (), unknown, p.argmax(1), p.max(1), fitted.classifier.class_names)
