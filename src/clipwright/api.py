"""The verbs: open data, fit, evaluate, extract, compare, demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.captioning import caption
from clipwright.classifier import Classifier
from clipwright.comparing import SHOTS, Methods, Sources, compare_run, reopened
from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset, Subset
from clipwright.engine import parse_shard
from clipwright.features import extract as extract_features
from clipwright.fitted import Fitted
from clipwright.fitting import Classes, FitRun, Ints, Source, fit_run, open_data, prepared_data
from clipwright.merging import averages_statistics, merge
from clipwright.merging import merge_curve as _merge_curve
from clipwright.methods.base import Method
from clipwright.protocol.draws import Short
from clipwright.protocol.evaluation import BaseToNew, Evaluation, evaluate_logits
from clipwright.protocol.plan import Protocol, Validation
from clipwright.protocol.prepare import DEFAULT_RECIPE, Prepared, prepare
from clipwright.protocol.runner import run
from clipwright.protocol.transfer import (
    ClassIndex,
    extended,
    extending_method,
    knows_none,
    map_classes,
    read_class_index,
)
from clipwright.report.elements import Reason
from clipwright.report.outcomes import Outcomes
from clipwright.report.why import has_texts, reasons
from clipwright.synthetic.captioning import CaptionRun
from clipwright.synthetic.describing import describe_classes as describe
from clipwright.synthetic.endpoint import Endpoint, Prices, read_api_key
from clipwright.synthetic.generating import Generation
from clipwright.synthetic.generating import generate_images as generate
from clipwright.synthetic.label_classifier import LabelClassifier, predict_labels
from clipwright.synthetic.tune_prompt import tune_prompt
from clipwright.texts import TextBank

if TYPE_CHECKING:
    from clipwright.features import FeatureStore
    from clipwright.protocol.results import Results

__all__ = [
    "BaseToNew",
    "CaptionRun",
    "Endpoint",
    "Evaluation",
    "FitRun",
    "Generation",
    "LabelClassifier",
    "Prices",
    "averages_statistics",
    "base_to_new",
    "caption",
    "compare",
    "compare_run",
    "comparison_report",
    "demo",
    "describe",
    "evaluate",
    "extract",
    "fit",
    "fit_report",
    "fit_run",
    "generate",
    "merge",
    "merge_curve",
    "open_data",
    "predict_labels",
    "read_api_key",
    "reopened",
    "tune_prompt",
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
    texts: TextBank | str | Path | None = None,
    generated: str | Path | None = None,
    second: str | None = None,
    captions: str | Path | None = None,
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
        texts: what else is known of the classes: a TextBank, or a file that `clipwright.texts.open_bank` reads.
        generated: a folder that ``clipwright generate`` wrote; its images stand beside the real ones and are no labels.
        second: identifier of a second backbone, for methods that take the features of two.
        captions: a folder that ``clipwright caption`` wrote, for methods that read captions of unlabeled images.
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
        texts=texts,
        generated=generated,
        second=second,
        captions=captions,
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
        made=fitted.made,
        why=_why(fitted),
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
    class_index: ClassIndex | None = None,
    classes_subset: Subset | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure a classifier on labelled images: on the test split where there is one, else on all that are labelled.

    Classes are matched by name, or by `class_index`. Where the data lack some of the classifier's classes, or have
    them in another order, the logits of all classes are computed, then restricted to those of the data.

    Args:
        classifier: what `fit` returned or `Classifier.load` read.
        data: labelled data.
        classes: class names of the data, by a file or a list.
        class_index: the classifier's number of each class of the data, where names don't tell: numbers from 0, a file
            of them, or ``"imagenet-a"`` or ``"imagenet-r"``.
        classes_subset: score the ``"base"`` or the ``"new"`` half of the data's classes; a half of which the
            classifier knows no class is scored from its texts, where the method can.
        device: where to run the backbone.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        DataError: no labelled images, or classes that the classifier doesn't know.
        NeedsError: the classifier's method can't score new classes.
        BackboneError: images for a classifier that takes ready-made features.
    """
    dataset = open_data(data, classes, classes_subset=classes_subset)
    unseen = classes_subset == "new" and class_index is None and knows_none(classifier, dataset.class_names)
    if unseen:
        extending_method(classifier)  # refuses before any image is looked at
    prepared = _features_for(classifier, dataset, texts=unseen, device=device, store=store, quiet=quiet)
    names = dataset.class_names
    if unseen:
        fitted = extended(classifier, names, prepared.text, prepared.logit_scale)
    else:
        numbers = None if class_index is None else read_class_index(class_index)
        fitted = _restricted(classifier, map_classes(names, classifier.class_names, numbers))
    rows, split = _scored(prepared.dataset)
    return _evaluation(classifier, fitted, prepared, rows, split)


def base_to_new(
    classifier: Classifier,
    data: Source,
    *,
    classes: Classes | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> BaseToNew:
    """Measure a classifier of the base half of the classes on both halves, each scored among its own classes.

    Args:
        classifier: fitted on ``open_data(data, classes_subset="base")``.
        data: the whole data, labelled.
        classes: class names of the data, by a file or a list.
        device: where to run the backbone.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        NeedsError: the classifier's method can't score new classes.
        DataError: the classifier's classes aren't the base half of the data's.
    """
    dataset = open_data(data, classes)
    if not is_base(classifier, dataset):
        raise DataError(
            f"the classifier's {len(classifier.class_names)} classes are not the base half of those of {dataset.name}: "
            "fit it with --classes-subset base on the same data."
        )
    shared: dict[str, Any] = {"device": device, "store": store, "quiet": quiet}
    new = evaluate(classifier, dataset, classes_subset="new", **shared)
    return BaseToNew(evaluate(classifier, dataset, classes_subset="base", **shared), new)


def merge_curve(
    base: Classifier,
    tuned: Classifier,
    alphas: Sequence[float],
    data: Source | Sequence[Source],
    *,
    statistics: Source | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Accuracy of merges of two classifiers on the test split of labelled data; see `clipwright.merge`.

    Args:
        base: what alpha = 0 gives.
        tuned: what alpha = 1 gives.
        alphas: numbers in [0, 1].
        data: what `open_data` opens, one or several.
        statistics: images on which the statistics of batch norms are estimated anew, where the tuning changed them.
        device: where to run the backbone.
        quiet: show no progress.

    Returns:
        rows with alpha, data, n, accuracy, low and high (95 % interval over images), fractions.
    """
    several = [data] if isinstance(data, str | Path | Dataset) else list(data)

    def measure(merged: Classifier, dataset: Dataset) -> Evaluation:
        with TemporaryDirectory() as folder:  # features of a merge are of no use to others
            return evaluate(merged, dataset, device=device, store=Path(folder) / "store", quiet=quiet)

    return _merge_curve(base, tuned, alphas, [open_data(one) for one in several], measure, statistics=statistics)


def is_base(classifier: Classifier, dataset: Dataset) -> bool:
    """Whether the classes of a classifier are the base half of those of the data, and no more."""
    half = (len(dataset.class_names) + 1) // 2
    return 0 < half < len(dataset.class_names) and classifier.class_names == dataset.class_names[:half]


def _features_for(
    classifier: Classifier, dataset: Dataset, *, texts: bool, device: str | None, store: Path | None, quiet: bool
) -> Prepared:
    """Features of the data by the classifier's backbone, and texts by its templates where they are asked for."""
    if dataset.bundle is not None:
        return prepare(dataset, None)
    templates = classifier.card.get("templates") or None
    ref = classifier.backbone_ref(device)
    asks = classifier.asks
    prepared = prepare(
        dataset,
        ref,
        templates=templates,
        texts=texts or asks,
        second=classifier.second_ref(),
        store=store,
        asked_names=classifier.said_names if asks else None,
        quiet=quiet,
    )
    if asks:
        classifier.attach(ref.load())
    if classifier.fitted.tower is not None:  # what is extracted above is of the tower that the fit changed
        prepared = replace(prepared, features=replace(prepared.features, tower=classifier.fitted.tower.digest))
    return prepared


def _restricted(classifier: Classifier, columns: Ints) -> Fitted:
    fitted = classifier.fitted
    if columns.tolist() == list(range(len(classifier.class_names))):
        return fitted
    return replace(fitted, head=fitted.head.restrict(torch.from_numpy(columns)))


def _evaluation(classifier: Classifier, fitted: Fitted, prepared: Prepared, rows: Ints, split: str) -> Evaluation:
    dataset = prepared.dataset
    logits = fitted(prepared.rows(rows)) / classifier.temperature
    notes = (*dataset.notes, *prepared.notes, *_seen(classifier, prepared, rows))
    if bool(dataset.is_generated[rows].any()):
        notes = (*notes, "The scored images are generated, so the accuracy says little about real ones.")
    more: dict[str, Any] = {"split": split, "problems": prepared.problems, "notes": notes}
    return evaluate_logits(logits, dataset.labels[rows], dataset.class_names, **more)


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
    data: Sources,
    methods: Methods,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int | None = None,
    backbone: str | Sequence[str] | None = None,
    classes: Classes | None = None,
    root: Path | None = None,
    templates: str | Sequence[str] | None = None,
    texts: TextBank | str | Path | None = None,
    generated: str | Path | None = None,
    second: str | None = None,
    captions: str | Path | None = None,
    validation: Validation = "none",
    protocol: Protocol = "draws",
    seed: int = 0,
    device: str | None = None,
    views: int = 0,
    calibrate: bool = False,
    short: Short = "refuse",
    store: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> Results:
    """Fit every method at every number of shots on several draws of labelled images, and score each once.

    Args:
        data: labelled data, or several.
        methods: names (``"auto"`` among them) or configured methods; a mapping names configurations of one method.
        shots: labels per class; 0 = none.
        draws: support sets per number of shots; 10 by default, 3 with CoOp's protocol.
        backbone: identifier, or several; none for bundles.
        classes: class names, where the data don't bring them.
        root: folder that benchmarks lie in.
        templates: prompt templates.
        texts: what else is known of the classes: a TextBank, or a file that `clipwright.texts.open_bank` reads.
        generated: a folder that ``clipwright generate`` wrote; its images stand beside the real ones and are no labels.
        second: identifier of a second backbone, for methods that take the features of two.
        captions: a folder that ``clipwright caption`` wrote, for methods that read captions of unlabeled images.
        validation: ``"none"``; or ``"few-shot"`` (min(shots, 4) further labels per class) or ``"full"`` (the data's
            own validation split), which runs each method that can choose on validation labels a second time with them.
        protocol: ``"draws"`` (nested, by row identifier), or ``"coop"`` (the field's draws of benchmarks, seeds 1-3).
        seed: draws and fits come from it.
        device: where to run the backbone.
        views: augmented views per image of the training pool.
        calibrate: also fit a temperature out of fold.
        short: what to do with a class that has fewer images than shots: ``"refuse"``, or take ``"all"`` it has.
        store: folder of the feature store.
        out: folder that finished cells are kept in, so that the same call goes on where it was stopped; also where
            results.parquet is written.
        quiet: show no progress.

    Raises:
        UsageError, DataError, NeedsError, BackboneError: one sentence that says what to do.
    """
    return compare_run(
        data,
        methods,
        shots=shots,
        draws=draws,
        backbone=backbone,
        classes=classes,
        root=root,
        templates=templates,
        texts=texts,
        generated=generated,
        second=second,
        captions=captions,
        validation=validation,
        protocol=protocol,
        seed=seed,
        device=device,
        views=views,
        calibrate=calibrate,
        short=short,
        store=store,
        out=out,
        quiet=quiet,
    ).results


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
    from clipwright.report import comparison_page, write

    page = out if out.suffix.lower() in {".html", ".htm"} else out / "report.html"
    write(page, comparison_page(results, datasets=datasets, title=title, command=command))
    return page


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
    prepared = prepared_data("digits", backbone="tiny", quiet=quiet)
    named = [catalogue.make(name) for name in ("ZeroShot", "TaskRes")]
    results = run(prepared, named, DEMO_SHOTS, draws, seed, calibrate=True, quiet=quiet)
    results.save(out)
    command = f"clipwright demo --draws {draws} --seed {seed}"
    datasets = {prepared.dataset.name: prepared.dataset}
    return comparison_report(results, out, datasets=datasets, command=command, title="Handwritten digits")


def _scored(dataset: Dataset) -> tuple[Ints, str]:
    """The labelled rows to score: the test split, else the validation split beside a training split, else all.

    Generated images are scored where there are no others.
    """
    labelled = (dataset.labels >= 0) & (~dataset.is_generated | bool(dataset.is_generated.all()))
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
