"""The verbs: open data, fit, evaluate, extract, compare, demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.captioning import caption
from clipwright.classifier import Classifier
from clipwright.comparing import SHOTS, Methods, Sources, compare_run, reopened
from clipwright.core.errors import UsageError
from clipwright.data.dataset import Dataset
from clipwright.engine import parse_shard
from clipwright.evaluating import base_to_new, evaluate, is_base, scored_part
from clipwright.features import extract as extract_features
from clipwright.fitting import Classes, FitRun, Source, fit_run, open_data, prepared_data
from clipwright.merging import averages_statistics, merge
from clipwright.merging import merge_curve as _merge_curve
from clipwright.methods.base import Method
from clipwright.protocol.draws import Short
from clipwright.protocol.evaluation import BaseToNew, Evaluation
from clipwright.protocol.plan import Protocol, Validation
from clipwright.protocol.prepare import DEFAULT_RECIPE
from clipwright.protocol.runner import run
from clipwright.reporting import comparison_report, fit_report
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
    "is_base",
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
            return evaluate(merged, scored_part(dataset)[0], device=device, store=Path(folder) / "store", quiet=quiet)

    return _merge_curve(base, tuned, alphas, [open_data(one) for one in several], measure, statistics=statistics)


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
