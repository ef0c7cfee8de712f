"""One fit from data to classifier: which rows play which part, which method, which temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipwright import data as data_room
from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.classifier import Classifier
from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset, Subset
from clipwright.data.joined import join_generated, read_folder
from clipwright.fitted import Fitted, OutOfFold
from clipwright.methods.base import Method
from clipwright.protocol.auto import Auto, configured, real_only
from clipwright.protocol.calibrate import out_of_fold_logits
from clipwright.protocol.captions import add_captions
from clipwright.protocol.draws import support_draw
from clipwright.protocol.evaluation import Evaluation, evaluate_logits
from clipwright.protocol.generated_gap import GeneratedGap, generated_gap
from clipwright.protocol.names_alone import names_alone
from clipwright.protocol.prepare import Prepared, add_views, prepare, said_names
from clipwright.synthetic.captions import read_captions
from clipwright.task import Need, Task
from clipwright.texts import TextBank

Source = str | Path | Dataset
Classes = str | Path | Sequence[str]
Ints = NDArray[np.int64]
Basis = Literal["held out", "out of fold"]


def open_data(
    source: Source,
    classes: Classes | None = None,
    *,
    root: str | Path | None = None,
    classes_subset: Subset | None = None,
    max_pixels: int | None = None,
    generated: str | Path | None = None,
) -> Dataset:
    """Open images, a table, a feature bundle, a benchmark or an embedded data set.

    Args:
        source: a folder (class subfolders, train/val/test, or flat), a CSV/Parquet/list file, an ``.npz`` bundle, a
            benchmark such as ``"benchmark:dtd"``, or an embedded name such as ``"digits"``; a Dataset is taken as it
            is.
        classes: a file of class names, or the names; needed for images without labels.
        root: the folder that benchmarks lie in, by default CLIPWRIGHT_DATA; or that paths in a table start from.
        classes_subset: keep the ``"base"`` or the ``"new"`` half of the classes.
        max_pixels: refuse larger images; by default CLIPWRIGHT_MAX_PIXELS, else a limit of the reader.
        generated: a folder that ``clipwright generate`` wrote, whose images stand beside the data's own.

    Raises:
        DataError: what is wrong with the data and what to do.
        UsageError: arguments that contradict each other.
    """
    data = _opened(source, classes, root=root, classes_subset=classes_subset, max_pixels=max_pixels)
    return data if generated is None else join_generated(data, read_folder(generated, max_pixels=max_pixels))


def _opened(
    source: Source,
    classes: Classes | None,
    *,
    root: str | Path | None,
    classes_subset: Subset | None,
    max_pixels: int | None,
) -> Dataset:
    if isinstance(source, Dataset):
        if classes is not None:
            raise UsageError("class names can't be given for data that is already open: give them to open_data.")
        if root is not None:
            raise UsageError("a root can't be given for data that is already open: give it to open_data.")
        return source if classes_subset is None else source.class_subset(classes_subset)
    if not isinstance(source, str | Path) or not str(source).strip():
        raise UsageError(f"data must be a path or the name of an embedded data set; it is {source!r}.")
    return data_room.open_data(source, classes, root=root, classes_subset=classes_subset, max_pixels=max_pixels)


def prepared_data(
    data: Source,
    *,
    backbone: str | None = None,
    classes: Classes | None = None,
    templates: str | Sequence[str] | None = None,
    texts: TextBank | str | Path | None = None,
    generated: str | Path | None = None,
    second: str | None = None,
    captions: str | Path | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Prepared:
    """Open data and make features of it; a bundle brings its own.

    Raises:
        UsageError: a backbone, texts or captions were named for a bundle.
    """
    dataset = open_data(data, classes, generated=generated)
    if dataset.bundle is not None:
        if backbone is not None or second is not None:
            raise UsageError(f"{dataset.name} is a feature bundle and brings its own features: leave the backbone out.")
        prepared = prepare(dataset, None, templates=templates, bank=texts)
    else:
        ref = resolve(backbone or DEFAULT, device=device)
        other = None if second is None else resolve(second, device=device)
        prepared = prepare(dataset, ref, templates=templates, bank=texts, second=other, store=store, quiet=quiet)
    return prepared if captions is None else _captioned(prepared, captions)


def _captioned(prepared: Prepared, folder: str | Path) -> Prepared:
    """The same with what ``clipwright caption`` wrote."""
    found = read_captions(folder)
    images = {name: caption.text for name, caption in found.images.items()}
    return add_captions(prepared, images, {name: found.group_texts(name) for name in found.class_names})


def check_use(methods: Iterable[Method], *, second: str | None, captions: str | Path | None) -> None:
    """Refuse a second backbone or captions that none of the methods would look at.

    Raises:
        UsageError: says which methods do.
    """
    wants = [method.requires() for method in methods]
    used = frozenset().union(*(want.needs | want.optional for want in wants))
    for given, need, what in ((second, Need.SECOND, "a second backbone"), (captions, Need.CAPTIONS, "captions")):
        if given is not None and need not in used:
            able = ", ".join(name for name in catalogue.names() if _takes(name, need)) or "none yet"
            raise UsageError(f"no method here takes {what}: leave it out, or choose one that does ({able}).")


def _takes(name: str, need: Need) -> bool:
    wants = catalogue.make(name).requires()
    return need in wants.needs | wants.optional


@dataclass(frozen=True, eq=False)
class Roles:
    """Row numbers by the part they play in one fit.

    Attributes:
        support: labelled rows that the method learns from, then all generated ones.
        validation: labelled rows of the data's own validation split.
        unlabeled: rows of the training side without a label.
        held_out: labelled rows that the fit doesn't see: the test split, else what the shots leave.
    """

    support: Ints
    validation: Ints
    unlabeled: Ints
    held_out: Ints


def roles(dataset: Dataset, shots: int | None, seed: int) -> Roles:
    """Give rows their parts; a test split is never learned from, a generated image never drawn or held out.

    Where all images are generated, shots are drawn from them.

    Raises:
        DataError: a class has fewer labelled images than shots.
    """
    labels, splits, inside, made = dataset.labels, dataset.splits, dataset.is_training, dataset.is_generated
    pool = np.flatnonzero(inside & (labels >= 0))
    support = pool
    if shots is not None and len(pool):
        data_room.check_shots(labels[pool], dataset.class_names, shots)
        hidden = np.where(inside, labels, -1)
        support = support_draw(hidden, shots, 0, seed, ids=dataset.ids, class_names=dataset.class_names)
    test = np.flatnonzero((splits == "test") & (labels >= 0))
    left = np.setdiff1d(pool, support)
    return Roles(
        support=np.concatenate([support, np.flatnonzero(made & ~inside & (labels >= 0))]),
        validation=np.flatnonzero((splits == "val") & (labels >= 0)),
        unlabeled=np.flatnonzero(inside & (labels < 0)),
        held_out=test if len(test) else left[~made[left]],
    )


@dataclass(frozen=True, eq=False)
class Scored:
    """Logits of labelled rows by a fit that did not see them.

    Attributes:
        logits: (n, C), temperature applied.
        labels: (n,) true classes.
        ids: n row identifiers.
        basis: ``held out`` rows, or the labelled rows themselves, each scored ``out of fold``.
    """

    logits: NDArray[np.float64]
    labels: Ints
    ids: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, eq=False)
class FitRun:
    """A fit with everything a report needs.

    Attributes:
        classifier: what was fitted.
        fitted: the method's answer.
        method: the configured method.
        task: what the method saw.
        prepared: features and texts of the whole data set.
        roles: which rows played which part.
        out_of_fold: logits of the labelled rows by fits that did not see them, or None.
        made: its generated images beside the real ones, or None where it was given none.
    """

    classifier: Classifier
    fitted: Fitted
    method: Method
    task: Task
    prepared: Prepared
    roles: Roles
    out_of_fold: OutOfFold | None
    made: GeneratedGap | None = None

    def score(self, fitted: Fitted | None = None) -> NDArray[np.float64]:
        """(n, C) logits of the held-out rows by this fit, temperature applied, or by another one as it is."""
        rows = self.prepared.answering(self.fitted if fitted is None else fitted, self.roles.held_out)
        logits = self.fitted(rows) / self.classifier.temperature if fitted is None else fitted(rows)
        return logits.double().cpu().numpy()

    @cached_property
    def scored(self) -> Scored | None:
        """The held-out rows scored once; without any, the labelled rows out of fold; without labels, None."""
        if len(rows := self.roles.held_out):
            ids = self.prepared.features.ids or ()
            return Scored(self.score(), self.prepared.dataset.labels[rows], tuple(ids[i] for i in rows), "held out")
        if self.out_of_fold is None:
            return None
        found = self.out_of_fold
        return Scored(found.logits / self.classifier.temperature, found.labels, found.ids or (), "out of fold")

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Figures of the rows that were scored."""
        if self.scored is None:
            return None
        names = self.classifier.class_names
        return evaluate_logits(self.scored.logits, self.scored.labels, names, split=self.scored.basis)

    @cached_property
    def names_alone(self) -> Evaluation | None:
        """What names alone give on the same rows, or None where there are no texts or nothing was scored."""
        alone = "ZeroShot" in (self.method.title, self.classifier.card.get("picked"))
        if self.scored is None or alone:
            return None
        held = self.scored.basis == "held out"
        rows = self.roles.held_out if held else self.roles.support
        rows = rows[~self.prepared.dataset.is_generated[rows]]
        logits = names_alone(self.prepared, rows, seed=self.task.seed)
        if logits is None:
            return None
        labels = self.prepared.dataset.labels[rows]
        return evaluate_logits(logits, labels, self.classifier.class_names, split=self.scored.basis)


def fit_run(
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
    workspace: Path | None = None,
    ready: Callable[[], object] | None = None,
    quiet: bool = False,
) -> FitRun:
    """Fit as `clipwright.fit` does, and return what a report needs besides; arguments as there.

    `ready` is called when all features are there and the method is about to begin.
    """
    if not isinstance(seed, int | np.integer):
        raise UsageError(f"seed must be a whole number; it is {seed!r}.")
    chosen, reason = _method(method, hyper_parameters or {})
    check_use([chosen], second=second, captions=captions)
    opened = open_data(data, classes, generated=generated)
    _check(opened, shots)
    made_of: dict[str, Any] = {"templates": templates, "texts": texts, "second": second, "captions": captions}
    prepared = prepared_data(opened, backbone=backbone, device=device, store=store, quiet=quiet, **made_of)
    parts = roles(prepared.dataset, shots, seed)
    if views and len(parts.support):
        prepared = add_views(prepared, parts.support, views, seed=seed, quiet=quiet)
    task = prepared.task(parts.support, validation=parts.validation, unlabeled=parts.unlabeled, seed=seed)
    task = replace(prepared.granting(task, chosen), workspace=workspace, quiet=quiet)
    chosen.check(task)
    if ready is not None:
        ready()
    fitted = chosen.fit(task)
    held, calibration = out_of_fold_logits(chosen, real_only(task) if isinstance(chosen, Auto) else task, fitted=fitted)
    real = np.concatenate([parts.validation, parts.unlabeled])
    made = generated_gap(prepared, fitted, parts.support, real, seed=seed, quiet=quiet)
    classifier = Classifier(
        fitted,
        prepared.dataset.class_names,
        backbone=prepared.ref.describe() if prepared.ref is not None else None,
        second=second_of(prepared, fitted),
        temperature=1.0 if held is None else fit_temperature(held.logits, held.labels).value,
        card=_with_gap(_card(prepared, parts, task, chosen, fitted), made)
        | {"reason": fitted.trace.reason or reason, "calibration": calibration},
        support_contents=[prepared.contents[i] for i in parts.support] if prepared.contents else (),
        device=device,
    )
    return FitRun(classifier, fitted, chosen, task, prepared, parts, held, made)


def second_of(prepared: Prepared, fitted: Fitted) -> dict[str, Any] | None:
    """The description of the second backbone, where a fit's head takes its features."""
    if prepared.second is None or "second" not in fitted.head.inputs:
        return None
    return prepared.second.describe()


def check_classes(dataset: Dataset) -> None:
    """Refuse a single class.

    Raises:
        DataError: there is one.
    """
    if len(dataset.class_names) < 2:
        raise DataError(f"{dataset.name} has a single class, so there is nothing to tell apart: add another class.")


def _check(dataset: Dataset, shots: int | None) -> None:
    """Refuse what can't be fitted before any image is looked at."""
    check_classes(dataset)
    labels = dataset.labels[dataset.is_training]
    if shots is not None and bool((labels >= 0).any()):
        data_room.check_shots(labels, dataset.class_names, shots)


def _card(prepared: Prepared, parts: Roles, task: Task, method: Method, fitted: Fitted) -> dict[str, Any]:
    dataset = prepared.dataset
    picked = {"picked": fitted.trace.chosen.get("method"), "candidates": fitted.trace.candidates}
    return {
        "method": method.title,
        **(picked if isinstance(method, Auto) else {}),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "templates": list(prepared.templates),
        **({} if (said := said_names(dataset)) == dataset.class_names else {"said_names": list(said)}),
        "labels_per_class": list(fitted.trace.labels_per_class),
        "images": {role: len(rows) for role, rows in vars(parts).items()} | _made(task),
        "seed": task.seed,
        "seconds_prepare": prepared.seconds,
        "skipped_images": len(prepared.problems),
        "notes": [*dataset.notes, *prepared.notes],
    }


def _with_gap(card: dict[str, Any], made: GeneratedGap | None) -> dict[str, Any]:
    if made is None:
        return card
    return card | {"gap": made.as_json(), "notes": [*card["notes"], *made.notes]}


def _made(task: Task) -> dict[str, int]:
    """Generated images of the support set, told apart from the labelled ones; nothing where there are none."""
    if task.support is None or not (made := int(task.support.is_generated.sum())):
        return {}
    return {"support": len(task.support) - made, "generated": made}


def _method(method: str | Method, hyper_parameters: Mapping[str, Any]) -> tuple[Method, str]:
    if isinstance(method, str):
        return configured(method, **hyper_parameters), "It was asked for."
    if not isinstance(method, Method):
        raise UsageError(f"method must be a name or a configured method, such as TaskRes(); it is {method!r}.")
    if hyper_parameters:
        raise UsageError("hyper-parameters belong to a method that is given by name: set them on the method itself.")
    return method, "It was given."
