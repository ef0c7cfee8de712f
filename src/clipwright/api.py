"""The verbs: open data, fit, evaluate, extract, compare, demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.classifier import Classifier
from clipwright.core.errors import DataError, UsageError
from clipwright.core.metrics import softmax
from clipwright.data.dataset import Dataset
from clipwright.engine import parse_shard
from clipwright.features import extract as extract_features
from clipwright.fitting import Classes, FitRun, Ints, Source, fit_run, open_data, prepared_data
from clipwright.methods.base import Method
from clipwright.protocol.evaluation import Evaluation, evaluate_logits
from clipwright.protocol.prepare import DEFAULT_RECIPE, Prepared, add_views, prepare
from clipwright.protocol.runner import run
from clipwright.protocol.splits import pools
from clipwright.report.outcomes import Outcomes

if TYPE_CHECKING:
    from clipwright.features import FeatureStore
    from clipwright.protocol.results import Results

__all__ = [
    "Evaluation",
    "FitRun",
    "compare",
    "demo",
    "evaluate",
    "extract",
    "fit",
    "fit_report",
    "fit_run",
    "open_data",
]

DEMO_SHOTS = (0, 1, 4, 16)


def fit(
    data: Source,
    *,
    backbone: str | None = None,
    method: str | Method = "auto",
    classes: Classes | None = None,
    shots: int | None = None,
    templates: str | Sequence[str] | None = None,
    hyper_parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
    views: int = 0,
    store: Path | None = None,
    quiet: bool = False,
) -> Classifier:
    """Fit the classifier that the supervision at hand allows.

    Rows of a test split are never used. Without a validation split, none is held back.

    Args:
        data: what `open_data` opens.
        backbone: identifier such as ``"openclip:ViT-B-16@openai"`` (the default) or ``"tiny"``; none for a bundle.
        method: ``"auto"``, a method's name, or a configured method.
        classes: class names, where the data doesn't bring them.
        shots: labels per class to use; all when left out.
        templates: prompt templates, each with one ``{}``, or the name of a set such as ``"imagenet7"``.
        hyper_parameters: values for a method given by name.
        seed: all randomness comes from it.
        device: ``"cuda"``, ``"mps"`` or ``"cpu"``; the best there is when left out.
        views: augmented views per labelled image.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        DataError, UsageError, NeedsError, BackboneError: one sentence that says what to do.
    """
    return fit_run(
        data,
        backbone=backbone,
        method=method,
        classes=classes,
        shots=shots,
        templates=templates,
        hyper_parameters=hyper_parameters,
        seed=seed,
        device=device,
        views=views,
        store=store,
        quiet=quiet,
    ).classifier


def fit_report(fitted: FitRun, out: Path, *, command: str = "") -> Path:
    """Write the page about a fit to ``out/report.html``.

    Args:
        fitted: what `fit_run` returned.
        out: folder.
        command: the command that was run, for the page.

    Returns:
        path of the page.
    """
    from clipwright.report import fit_page, write

    page = fit_page(
        fitted.classifier,
        evaluation=fitted.evaluation,
        names_alone=fitted.names_alone,
        outcomes=_outcomes(fitted),
        guesses=_guesses(fitted),
        dataset=fitted.prepared.dataset,
        skipped=fitted.prepared.problems,
        command=command,
    )
    write(out / "report.html", page)
    return out / "report.html"


def evaluate(
    classifier: Classifier,
    data: Source,
    *,
    classes: Classes | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure a classifier on labelled images: on the test split where there is one, else on all that are labelled.

    Classes are matched by name. Where the data lack some of the classifier's classes, the logits of all classes are
    computed, then restricted to those present.

    Args:
        classifier: what `fit` returned or `Classifier.load` read.
        data: labelled data.
        classes: class names of the data, by a file or a list.
        device: where to run the backbone.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        DataError: no labelled images, or classes that the classifier doesn't know.
        BackboneError: images for a classifier that takes ready-made features.
    """
    dataset = open_data(data, classes)
    known = {name: i for i, name in enumerate(classifier.class_names)}
    strangers = [name for name in dataset.class_names if name not in known]
    if strangers:
        raise DataError(
            f"the classifier does not know the class {strangers[0]!r} ({len(strangers)} unknown): rename the classes "
            f"with --classes so that they match its {len(known)} names."
        )
    if dataset.bundle is None:
        prepared = prepare(dataset, classifier.backbone_ref(device), texts=False, store=store, quiet=quiet)
    else:
        prepared = prepare(dataset, None)
    rows, split = _scored(prepared.dataset)
    columns = np.array([known[name] for name in dataset.class_names], dtype=np.int64)
    head = classifier.fitted.head
    if list(columns) != list(range(len(known))):
        head = head.restrict(torch.from_numpy(columns))
    logits = replace(classifier.fitted, head=head)(prepared.rows(rows)) / classifier.temperature
    labels = prepared.dataset.labels[rows]
    notes = (*dataset.notes, *prepared.notes, *_seen(classifier, prepared, rows))
    more = {"split": split, "problems": prepared.problems, "notes": notes}
    return evaluate_logits(logits, labels, dataset.class_names, **more)


def extract(
    data: Source,
    *,
    backbone: str | None = None,
    classes: Classes | None = None,
    views: int = 0,
    recipe: str = DEFAULT_RECIPE,
    shard: str | tuple[int, int] = (1, 1),
    out: Path | None = None,
    device: str | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> FeatureStore:
    """Compute image features once and keep them; what a store holds already is not computed again.

    Args:
        data: what `open_data` opens.
        backbone: identifier; ``"openclip:ViT-B-16@openai"`` when left out.
        classes: class names, where the data doesn't bring them.
        views: augmented views per image.
        recipe: how views are made.
        shard: (I, N) or ``"I/N"``: do part I of N.
        out: folder of the store; the cache when left out.
        device: where to run.
        workers: processes that decode.
        batch_size: images encoded together.
        seed: views come from it.
        quiet: show no progress.

    Raises:
        UsageError: a bundle has no images.
    """
    dataset = open_data(data, classes)
    if dataset.bundle is not None:
        raise UsageError(f"{dataset.name} is a feature bundle: its features are there already.")
    ref = resolve(backbone or DEFAULT, device=device)
    return extract_features(
        dataset,
        ref,
        folder=out,
        views=views,
        recipe=recipe,
        seed=seed,
        shard=parse_shard(shard) if isinstance(shard, str) else shard,
        workers=workers,
        batch_size=batch_size,
        quiet=quiet,
    )


def compare(
    data: Source,
    methods: Sequence[str | Method] | Mapping[str, Method],
    *,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    draws: int = 10,
    backbone: str | None = None,
    classes: Classes | None = None,
    templates: str | Sequence[str] | None = None,
    seed: int = 0,
    device: str | None = None,
    views: int = 0,
    calibrate: bool = False,
    store: Path | None = None,
    quiet: bool = False,
) -> Results:
    """Fit every method at every number of shots on several draws of labelled images, and score each once.

    Args:
        data: labelled data.
        methods: names or configured methods; a mapping names configurations of one method.
        shots: labels per class; 0 = none.
        draws: support sets per number of shots.
        backbone: identifier; none for a bundle.
        classes: class names, where the data doesn't bring them.
        templates: prompt templates.
        seed: draws and fits come from it.
        device: where to run the backbone.
        views: augmented views per image of the training pool.
        calibrate: also fit a temperature out of fold.
        store: folder of the feature store.
        quiet: show no progress.
    """
    prepared = prepared_data(
        data, backbone=backbone, classes=classes, templates=templates, device=device, store=store, quiet=quiet
    )
    if views:
        prepared = add_views(prepared, pools(prepared.dataset).train, views, seed=seed, quiet=quiet)
    named: Sequence[Method] | Mapping[str, Method]
    if isinstance(methods, str):
        raise UsageError(f"methods must be a list: give [{methods!r}].")
    if isinstance(methods, Mapping):
        named = methods
    else:
        named = [catalogue.make(m) if isinstance(m, str) else m for m in methods]
    return run(prepared, named, shots, draws, seed, calibrate=calibrate, quiet=quiet)


def demo(out: Path, *, seed: int = 0, draws: int = 10, quiet: bool = False) -> Path:
    """Fit real handwritten digits with the embedded model, by names and with 1, 4 and 16 labels per class.

    Args:
        out: folder for results and the page.
        seed: draws and fits come from it.
        draws: support sets per number of labels.
        quiet: show no progress.

    Returns:
        path of the page.
    """
    from clipwright.report import comparison_page, write

    prepared = prepared_data("digits", backbone="tiny", quiet=quiet)
    named = [catalogue.make(name) for name in ("ZeroShot", "TaskRes")]
    results = run(prepared, named, DEMO_SHOTS, draws, seed, calibrate=True, quiet=quiet)
    results.save(out / "results")
    page = out / "report.html"
    command = f"clipwright demo --draws {draws} --seed {seed}"
    write(page, comparison_page(results, dataset=prepared.dataset, title="Handwritten digits", command=command))
    return page


def _scored(dataset: Dataset) -> tuple[Ints, str]:
    """The labelled rows to score: the test split, else the validation split beside a training split, else all."""
    labelled = dataset.labels >= 0
    for split in ("test", "val"):
        rows = np.flatnonzero((dataset.splits == split) & labelled)
        if len(rows) and (split == "test" or dataset.has_split("train")):
            return rows, split
    return np.flatnonzero(labelled), "all"


def _seen(classifier: Classifier, prepared: Prepared, rows: Ints) -> tuple[str, ...]:
    """What to tell of scored images that the classifier was fitted on."""
    if not prepared.contents or not classifier.support_contents:
        return ()
    fitted, digits = set(classifier.support_contents), len(classifier.support_contents[0])
    seen = sum(prepared.contents[i][:digits] in fitted for i in rows)
    if not seen:
        return ()
    return (
        (
            f"{seen} of the {len(rows)} scored images are exact copies of images that the classifier was fitted on, "
            "so the accuracy says more than it should: score other images."
        ),
    )


def _outcomes(fitted: FitRun) -> Outcomes | None:
    """What was said of each image that was scored."""
    scored = fitted.scored
    if scored is None:
        return None
    probabilities = softmax(scored.logits)
    names = fitted.classifier.class_names
    return Outcomes(scored.ids, scored.labels, probabilities.argmax(1), probabilities.max(1), names)


def _guesses(fitted: FitRun) -> Outcomes | None:
    """What the classifier says of the unlabeled rows."""
    rows = fitted.roles.unlabeled
    if not len(rows):
        return None
    features = fitted.prepared.rows(rows)
    p = fitted.classifier.predict_proba(features)
    unknown = np.full(len(rows), -1)
    return Outcomes(features.ids or (), unknown, p.argmax(1), p.max(1), fitted.classifier.class_names)
