"""From a data set and a backbone to features, texts and what a Task needs besides."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from clipwright.backbones.base import BackboneRef
from clipwright.backbones.endpoint import EndpointRef
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.timm_images import has_texts
from clipwright.backbones.tuned import TunedRef
from clipwright.core.errors import DataError, UsageError
from clipwright.core.spelling import clean_name
from clipwright.data import duplicates_across
from clipwright.data.dataset import Dataset
from clipwright.features import extract
from clipwright.fitted import Fitted
from clipwright.methods.base import Method
from clipwright.protocol.asked import ask_about, keeps_features
from clipwright.task import Access, BlackBox, Features, Task, TextFeatures
from clipwright.texts import TextBank, bank_features, open_bank, phrasing_name, read_templates, text_features

DEFAULT_RECIPE = "crop(0.5,1)+flip"
SECOND = "second"
"""Folder, inside that of a feature store, of the store of a second backbone."""

Rows = Sequence[int] | np.ndarray


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set whose images have become features.

    Attributes:
        dataset: the rows that could be read, in the data set's order.
        features: n rows of features aligned with `dataset`, labels included, no views.
        text: text features of the class names, or None.
        templates: the prompt templates behind `text`; empty for a bundle without them.
        logit_scale: what multiplies cosines.
        projection: (D', D) last matrix of the image tower, or None.
        projection_bias: (D,) vector added after it, or None.
        ref: the backbone, or None for a bundle.
        second: the backbone that made `features.second`, or None; a bundle brings its own.
        group_captions: text features of captions of groups of images, or None.
        views: (m, V, D) augmented views of m of the rows, or None.
        view_of: (n,) row of `views` that belongs to each row, -1 where it has none.
        contents: SHA-256 (hex) of what each row was decoded from; empty for a bundle.
        problems: (id, reason) of each image that was skipped.
        notes: what the user should know, one sentence each.
        seconds: wall time of extraction and text encoding.
    """

    dataset: Dataset
    features: Features
    text: TextFeatures | None
    templates: tuple[str, ...] = ()
    logit_scale: float = 100.0
    projection: torch.Tensor | None = None
    projection_bias: torch.Tensor | None = None
    ref: BackboneRef | None = None
    second: BackboneRef | None = None
    group_captions: TextFeatures | None = None
    views: torch.Tensor | None = None
    view_of: np.ndarray | None = None
    contents: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @cached_property
    def box(self) -> BlackBox:
        """The backbone as a black box that is asked about these classes.

        Raises:
            NeedsError: it takes no soft prompts.
        """
        assert self.ref is not None  # noqa: S101 - the caller looked
        return self.ref.load().soft_prompts(said_names(self.dataset))

    def granting(self, task: Task, method: Method) -> Task:
        """A task with the model behind it, where a method asks for more of it than stored features.

        Where the model can't give it, the task is left as it is, and the method says what it lacks.
        """
        wanted = method.requires().access
        if self.ref is None or (self.features.dim and not wanted & {Access.SOFT_PROMPT, Access.WEIGHTS}):
            return task
        backbone = self.ref.load()
        if Access.WEIGHTS in wanted and isinstance(backbone, TowerBackbone):
            return replace(task, access=backbone)
        if Access.SOFT_PROMPT not in backbone.access:
            return task
        return replace(task, access=self.box)

    def answering(self, fitted: Fitted, index: Rows, *, quiet: bool = True) -> Features:
        """Features of some rows as a fit's head takes them: by the image tower that the fit changed, if it did.

        Raises:
            DataError: an image that could be read before can't be read any more.
        """
        found = self.rows(index)
        if fitted.tower is None or self.ref is None:
            return found
        part = self.dataset.take(np.asarray(index, dtype=np.int64))
        with TemporaryDirectory() as folder:  # one fit's features are of no use to others
            store = extract(part, TunedRef(self.ref, fitted.tower), folder=Path(folder), quiet=quiet)
            tuned, kept = store.features_for(part)
            if len(kept) < len(part):
                raise DataError(
                    f"{len(part) - len(kept)} images can't be read any more: look at the disk, and run again."
                )
            before = None if tuned.pre_projection is None else tuned.pre_projection.clone()
            return replace(found, x=tuned.x.clone(), pre_projection=before, views=None, tower=fitted.tower.digest)

    @property
    def backbone(self) -> str:
        """Identifier of the backbone; ``"bundle"`` where features came ready-made."""
        return self.ref.spec if self.ref is not None else "bundle"

    @property
    def digest(self) -> str:
        """Digest of the backbone, empty for a bundle."""
        return self.ref.digest if self.ref is not None else ""

    def rows(self, index: Rows) -> Features:
        """Features of some rows, with views where each of them has some."""
        numbers = np.asarray(index, dtype=np.int64)
        found = self.features[numbers]
        if (reader := self.dataset.reader) is not None:
            sources = self.dataset.table["source"]
            found = replace(found, source=lambda i: reader.read(sources[int(numbers[i])].as_py()).image)
        if self.views is None or self.view_of is None or bool((self.view_of[numbers] < 0).any()):
            return found
        return replace(found, views=self.views[self.view_of[numbers]])

    def task(
        self,
        support: Rows | None = None,
        *,
        validation: Rows | None = None,
        unlabeled: Rows | None = None,
        seed: int = 0,
    ) -> Task:
        """What a method may see, given row numbers; all other labels stay here."""
        given = [None if i is None or not len(i) else self.rows(i) for i in (support, validation, unlabeled)]
        return Task(
            self.dataset.class_names,
            self.text,
            *given,
            group_captions=self.group_captions,
            logit_scale=self.logit_scale,
            projection=self.projection,
            projection_bias=self.projection_bias,
            seed=seed,
        )


def prepare(
    dataset: Dataset,
    ref: BackboneRef | None,
    *,
    templates: str | Sequence[str] | None = None,
    texts: bool = True,
    bank: TextBank | str | Path | None = None,
    second: BackboneRef | None = None,
    store: Path | None = None,
    asked_names: Sequence[str] | None = None,
    quiet: bool = False,
) -> Prepared:
    """Extract what the store doesn't hold yet, and encode the class names.

    Args:
        dataset: images, or a bundle.
        ref: the backbone; None only for a bundle.
        templates: prompt templates, each with one ``{}``, or the name of a set of them; by default the data set's
            own, else "a photo of a {}.".
        texts: whether to encode the class names.
        bank: what else is known of the classes, or a file that `clipwright.texts.open_bank` reads.
        second: a second backbone, whose features stand beside those of the first.
        store: folder of the feature store, that of a second backbone inside it; by default below CLIPWRIGHT_HOME.
        asked_names: the class names that an endpoint which keeps its features is asked about; the data set's own when
            left out.
        quiet: show no progress.

    Raises:
        UsageError: a bundle with a backbone or templates, images without a backbone, or texts for one without a text
            tower.
        DataError: no image can be read.
    """
    start = time.perf_counter()
    if dataset.bundle is not None:
        if ref is not None or templates is not None or bank is not None or second is not None:
            raise UsageError(
                "a feature bundle brings its own features and texts: leave out backbones, templates and texts."
            )
        return _bundled(dataset)
    if ref is None:
        raise UsageError("images need a backbone: name one.")
    _check_pair(ref, second)
    if keeps_features(ref):
        if bank is not None:
            raise UsageError(
                f"{ref.spec} encodes no texts of one's own: leave the texts out, or have it grant features."
            )
        return _asked(dataset, ref, templates, texts=texts, asked_names=asked_names, quiet=quiet, start=start)
    said = texts and _can_say(ref, templates, bank)
    if bank is not None and not isinstance(bank, TextBank):
        bank = open_bank(bank, class_names=dataset.prompt_names or dataset.class_names)
    extracted = extract(dataset, ref, folder=store, quiet=quiet)
    features, kept = extracted.features_for(dataset)
    problems = extracted.problems
    if second is not None:
        features, kept, problems = _beside(dataset, second, features, kept, problems, store=store, quiet=quiet)
    readable = dataset.take(kept)
    contents = tuple(extracted.contents(readable))
    chosen = read_templates((dataset.templates or None) if templates is None else templates) if said else ()
    speechless = (_NO_TEXTS.format(ref.spec),) if texts and not said else ()
    return Prepared(
        readable,
        _marked(features, readable),
        _class_texts(ref, dataset, chosen, bank) if said else None,
        chosen,
        logit_scale=extracted.logit_scale,
        projection=extracted.projection,
        projection_bias=extracted.projection_bias,
        ref=ref,
        second=second,
        contents=contents,
        problems=problems,
        notes=(*_copies(readable, contents), *(bank.notes if isinstance(bank, TextBank) else ()), *speechless),
        seconds=time.perf_counter() - start,
    )


_NO_TEXTS = "{} has no text tower, so methods that need the class names can't be fitted."


def _check_pair(ref: BackboneRef, second: BackboneRef | None) -> None:
    """Refuse a second backbone beside which, or of which, there are no features."""
    if second is None:
        return
    if second.spec == ref.spec:
        raise UsageError(f"{ref.spec} is named as both backbones: name another one as the second.")
    for each in (ref, second):
        if keeps_features(each):
            raise UsageError(f"{each.spec} keeps its features, and two backbones need those of both: name another one.")


def _can_say(ref: BackboneRef, templates: str | Sequence[str] | None, bank: TextBank | str | Path | None) -> bool:
    """Whether a backbone can encode texts; refuses texts that were asked for where it can't."""
    able = has_texts(ref)
    if not able and (templates or bank is not None):
        raise UsageError(f"{ref.spec} has no text tower: leave the templates and texts out, or name another backbone.")
    return able


def _beside(
    dataset: Dataset,
    second: BackboneRef,
    features: Features,
    kept: np.ndarray,
    problems: tuple[tuple[str, str], ...],
    *,
    store: Path | None,
    quiet: bool,
) -> tuple[Features, np.ndarray, tuple[tuple[str, str], ...]]:
    """Features with those of a second backbone, of the rows that both could read; their numbers; all problems."""
    extracted = extract(dataset, second, folder=None if store is None else store / SECOND, quiet=quiet)
    others, also = extracted.features_for(dataset)
    both = np.intersect1d(kept, also)
    if not len(both):
        raise DataError(f"no image of {dataset.name} could be read for both backbones: run again.")
    if len(both) < len(kept):
        features = features[np.searchsorted(kept, both)]
    x = others.x if len(both) == len(also) else others.x[torch.from_numpy(np.searchsorted(also, both))]
    return (
        replace(features, second=x),
        both,
        tuple(dict((*extracted.problems, *problems)).items()),
    )


def _marked(features: Features, dataset: Dataset) -> Features:
    """Features that say which of their rows are generated."""
    made = dataset.is_generated
    return replace(features, generated=torch.from_numpy(made)) if bool(made.any()) else features


def _asked(
    dataset: Dataset,
    ref: BackboneRef,
    templates: str | Sequence[str] | None,
    *,
    texts: bool,
    asked_names: Sequence[str] | None,
    quiet: bool,
    start: float,
) -> Prepared:
    """A data set behind an endpoint that keeps its features."""
    assert isinstance(ref, EndpointRef)  # noqa: S101 - only an endpoint does
    chosen = read_templates((dataset.templates or None) if templates is None else templates)
    names = said_names(dataset) if asked_names is None else tuple(asked_names)
    found = ask_about(dataset, ref, names, chosen, scores=texts, quiet=quiet)
    readable = dataset.take(found.kept)
    return Prepared(
        readable,
        _marked(found.features, readable),
        None,
        chosen,
        logit_scale=ref.load().logit_scale,
        ref=ref,
        contents=found.contents,
        problems=found.problems,
        notes=_copies(readable, found.contents),
        seconds=time.perf_counter() - start,
    )


def said_names(dataset: Dataset) -> tuple[str, ...]:
    """Class names as prompts say them."""
    return tuple(clean_name(name) for name in dataset.prompt_names or dataset.class_names)


def _class_texts(ref: BackboneRef, dataset: Dataset, templates: Sequence[str], bank: TextBank | None) -> TextFeatures:
    """Texts of the class names as prompts say them; two of ImageNet's names stand for two classes each."""
    said = dataset.prompt_names or dataset.class_names
    unique = {name: i for i, name in enumerate(dict.fromkeys(said))}
    if bank is None:
        found = text_features(ref, list(unique), templates)
    else:
        phrasing = phrasing_name(dataset.name) if bank.phrasing == "default" else None
        found = bank_features(ref, list(unique), bank, templates, phrasing=phrasing)
    return found if len(unique) == len(said) else found.of_classes(unique[name] for name in said)


def _copies(dataset: Dataset, contents: tuple[str, ...]) -> tuple[str, ...]:
    """What to tell of images that appear more than once."""
    if dataset.has_split("test") or dataset.has_split("val"):
        sides = np.where(np.isin(dataset.splits, ("test", "val")), dataset.splits, "train")
        return duplicates_across(contents, sides, dataset.ids).sentences
    labelled = np.array(contents)[(dataset.labels >= 0) & ~dataset.is_generated]
    repeated = len(labelled) - len(np.unique(labelled))
    if not repeated:
        return ()
    images = "image is an exact copy of another" if repeated == 1 else "images are exact copies of others"
    return (f"{repeated} labelled {images}, so labels drawn for support may also be scored: remove the copies.",)


def _bundled(dataset: Dataset) -> Prepared:
    bundle = dataset.bundle
    assert bundle is not None  # noqa: S101 - the caller looked
    return Prepared(
        dataset,
        _marked(replace(bundle.features, y=torch.from_numpy(dataset.labels), ids=tuple(dataset.ids)), dataset),
        bundle.text,
        bundle.prompts or (),
        logit_scale=bundle.logit_scale,
        projection=None if bundle.projection is None else torch.from_numpy(bundle.projection),
    )


def add_views(
    prepared: Prepared, rows: Rows, views: int, *, recipe: str = DEFAULT_RECIPE, seed: int = 0, quiet: bool = False
) -> Prepared:
    """The same with `views` augmented views of some rows.

    Raises:
        UsageError: a bundle has no images to augment.
    """
    if prepared.ref is None:
        raise UsageError("a feature bundle has no images to augment: put views into the bundle, or leave --views out.")
    start = time.perf_counter()
    numbers = np.unique(np.asarray(rows, dtype=np.int64))
    part = prepared.dataset.take(numbers)
    store = extract(part, prepared.ref, views=views, recipe=recipe, seed=seed, quiet=quiet)
    found, kept = store.features_for(part)
    view_of = np.full(len(prepared.dataset), -1, dtype=np.int64)
    view_of[numbers[kept]] = np.arange(len(kept))
    seconds = prepared.seconds + time.perf_counter() - start
    return replace(prepared, views=found.views, view_of=view_of, seconds=seconds)
