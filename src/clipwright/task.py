"""What a method may see: features, texts, labels of the support set; never a test label."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from clipwright.access import Access, BlackBox, Spent, Tower, TowerUpdate
from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows

if TYPE_CHECKING:
    import numpy as np

    ArrayLike = torch.Tensor | np.ndarray | Sequence[Any]
else:
    ArrayLike = Any

__all__ = [
    "Access",
    "AveragingRule",
    "BlackBox",
    "Features",
    "Need",
    "Spent",
    "Task",
    "TextFeatures",
    "Tower",
    "TowerUpdate",
    "check_class_names",
]

AveragingRule = Literal["raw_mean", "unit_mean", "mean_unit_renorm"]


class Need(StrEnum):
    """Data that a method asks of a Task."""

    TEXT = "text"
    LABELS = "labels"
    VALIDATION = "validation"
    UNLABELED = "unlabeled"
    QUERY = "query"
    VIEWS = "views"
    PRE_PROJECTION = "pre_projection"
    SECOND = "second"
    RAW_NORMS = "raw_norms"
    IMAGES = "images"
    SCORES = "scores"
    CAPTIONS = "captions"


_NAMED = ("ids", "handles", "caption_texts")  # a text for each row
_SCAN = 1 << 22  # elements looked at in one go


def _put(owner: object, name: str, value: Any) -> None:
    """Set a field of a frozen dataclass while it is being made."""
    object.__setattr__(owner, name, value)


def _tensor(values: ArrayLike, what: str, dims: tuple[int, ...], *, integer: bool = False) -> torch.Tensor:
    try:
        x = values if isinstance(values, torch.Tensor) else _as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} can't be read as an array: {error}.") from error
    if x.ndim not in dims:
        wanted = " or ".join(str(d) for d in dims)
        raise DataError(f"{what} must have {wanted} dimensions; the array has {x.ndim}, shape {tuple(x.shape)}.")
    if integer:
        if x.is_floating_point() or x.is_complex():
            raise DataError(f"{what} must be integers; they are {x.dtype}.")
        return x.long()
    return x if x.is_floating_point() else x.float()


def _as_tensor(values: Any) -> torch.Tensor:
    with warnings.catch_warnings():  # memory-mapped arrays are read-only, and nothing here writes
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.as_tensor(values)


def _finite(x: torch.Tensor, what: str) -> None:
    step = max(1, _SCAN // max(1, x[:1].numel()))  # scanned in blocks, so that a large array needs no second one
    good = [torch.isfinite(x[start : start + step]).flatten(1).all(1) for start in range(0, len(x), step)]
    bad = ~torch.cat(good) if good else torch.zeros(0, dtype=torch.bool)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise DataError(
            f"{what} hold NaN or infinity in {int(bad.sum())} of {len(x)} rows (first: row {row}); "
            "remove those rows or extract them again."
        )


def _rows(index: ArrayLike | slice, n: int) -> torch.Tensor:
    """(m,) int64 row numbers in 0..n-1 that a slice, a boolean mask or a list of numbers names."""
    if isinstance(index, slice):
        return torch.arange(n)[index] if (index.step or 1) > 0 else torch.tensor(range(n)[index], dtype=torch.int64)
    rows = torch.as_tensor(index)
    if rows.ndim != 1:
        raise DataError("rows are chosen by a slice, a boolean mask or a list of row numbers.")
    if rows.dtype == torch.bool:
        if len(rows) != n:
            raise DataError(f"a boolean mask must have one entry per row: it has {len(rows)}, there are {n} rows.")
        return rows.nonzero()[:, 0]
    if len(rows) == 0:
        return torch.zeros(0, dtype=torch.int64)
    if rows.is_floating_point() or rows.is_complex():
        raise DataError(f"row numbers must be integers; they are {rows.dtype}.")
    rows = rows.long()
    if int(rows.min()) < -n or int(rows.max()) >= n:
        raise DataError(f"row numbers must lie in 0..{n - 1}; they range from {int(rows.min())} to {int(rows.max())}.")
    return torch.where(rows < 0, rows + n, rows)


@dataclass(frozen=True, eq=False)
class Features:
    """Image features, row by row.

    Attributes:
        x: (n, D) clean view, raw (not normalised unless `unit`), floating point of any width; (n, 0) where a black box
            keeps its features to itself.
        y: (n,) int64 class indices, -1 = unlabeled; None = nothing is labelled.
        ids: n row identifiers, or None.
        views: (n, V, D) augmented views, raw like `x`, or None.
        pre_projection: (n, D') before the tower's last matrix, or None.
        second: (n, D2) features of another tower, or None.
        scores: (n, S, C) class scores of S models that tell nothing else, as logits; (n, C) of a single one; or None.
        handles: n names by which a black box knows the images, or None.
        generated: (n,) bool, which images a text-to-image model made; None = none.
        captions: (n, D) raw text features of a caption of each image, zeros where it has none; or None.
        caption_texts: n captions, "" where there is none; or None.
        unit: whether `x` was given with its norms already lost.
        source: decodes image i on demand (a Pillow image), or None.
        tower: digest of the `TowerUpdate` whose tower made these features, "" for the backbone as it is.

    Raises:
        DataError: wrong shapes, lengths that differ, or NaN or infinity.
    """

    x: torch.Tensor
    y: torch.Tensor | None = None
    ids: tuple[str, ...] | None = None
    views: torch.Tensor | None = field(default=None, kw_only=True)
    pre_projection: torch.Tensor | None = field(default=None, kw_only=True)
    second: torch.Tensor | None = field(default=None, kw_only=True)
    scores: torch.Tensor | None = field(default=None, kw_only=True)
    handles: tuple[str, ...] | None = field(default=None, kw_only=True)
    generated: torch.Tensor | None = field(default=None, kw_only=True)
    captions: torch.Tensor | None = field(default=None, kw_only=True)
    caption_texts: tuple[str, ...] | None = field(default=None, kw_only=True)
    unit: bool = field(default=False, kw_only=True)
    source: Callable[[int], Any] | None = field(default=None, kw_only=True)
    tower: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _put(self, "x", _tensor(self.x, "image features", (2,)))
        _finite(self.x, "image features")
        if self.y is not None:
            _put(self, "y", _tensor(self.y, "labels", (1,), integer=True))
            if len(self.labels) and int(self.labels.min()) < -1:
                raise DataError(f"labels must be class indices, or -1 for unlabeled; one is {int(self.labels.min())}.")
        for name, dims in (("views", (3,)), ("pre_projection", (2,)), ("second", (2,)), ("captions", (2,))):
            if (value := getattr(self, name)) is not None:
                _put(self, name, _tensor(value, name, dims))
                _finite(getattr(self, name), name)
        self._check_scores()
        if self.generated is not None:
            _put(self, "generated", torch.as_tensor(self.generated, dtype=torch.bool).reshape(-1))
        self._check_rows()

    def _check_rows(self) -> None:
        for name in _NAMED:
            if getattr(self, name) is not None:
                _put(self, name, tuple(getattr(self, name)))
        for name in ("y", "views", "pre_projection", "second", "scores", "generated", "captions", *_NAMED):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.x):
                raise DataError(f"{name} has {len(value)} rows but there are {len(self.x)} image features.")
        if self.views is not None and self.views.shape[2] != self.x.shape[1]:
            raise DataError(f"views have {self.views.shape[2]} dimensions but the clean view has {self.x.shape[1]}.")
        if self.captions is not None and self.captions.shape[1] != self.dim:
            raise DataError(f"captions have {self.captions.shape[1]} dimensions but the clean view has {self.dim}.")

    def _check_scores(self) -> None:
        if self.scores is not None:
            scores = _tensor(self.scores, "scores", (2, 3))
            _put(self, "scores", scores[:, None] if scores.ndim == 2 else scores)
            _finite(scores, "scores")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def dim(self) -> int:
        """D, the width of the clean view."""
        return int(self.x.shape[1])

    @property
    def labels(self) -> torch.Tensor:
        """(n,) int64 labels, -1 where unlabeled."""
        return self.y if self.y is not None else torch.full((len(self),), -1)

    @property
    def captioned(self) -> torch.Tensor:
        """(n,) bool, which rows have a caption."""
        none = torch.zeros(len(self), dtype=torch.bool)
        return none if self.captions is None else (self.captions != 0).any(1)

    @property
    def is_generated(self) -> torch.Tensor:
        """(n,) bool, which images a text-to-image model made."""
        return self.generated if self.generated is not None else torch.zeros(len(self), dtype=torch.bool)

    def unit_x(self) -> torch.Tensor:
        """(n, D) clean view with rows of length 1, float32 or float64."""
        return unit_rows(self.x)

    def __getitem__(self, index: ArrayLike | slice) -> Features:
        rows: Any = _rows(index, len(self))
        numbers = rows.tolist()
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            rows = index  # a view of the same memory, not a copy
        source = self.source
        changes: dict[str, Any] = {
            f.name: v[rows] for f in fields(self) if isinstance(v := getattr(self, f.name), torch.Tensor)
        }
        for name in _NAMED:
            if (kept := getattr(self, name)) is not None:
                changes[name] = tuple(kept[i] for i in numbers)
        if source is not None:
            changes["source"] = lambda i: source(numbers[i])
        return self._with(changes)

    def without_labels(self) -> Features:
        """The same rows with no labels at all."""
        return self._with({"y": None})

    def _with(self, changes: dict[str, Any]) -> Features:
        """A copy with other fields; rows were checked when they came in, so they aren't read again."""
        copy = object.__new__(Features)
        for f in fields(self):
            _put(copy, f.name, changes.get(f.name, getattr(self, f.name)))
        return copy


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Text features as flat rows, each belonging to a class.

    A dense (C, D) array (one text per class) or (P, C, D) array (P prompts, prompt-major) is accepted and flattened.

    Attributes:
        x: (T, D) raw text features.
        class_index: (T,) int64 class of each row; may be left out for dense arrays.
        kind: kind of each row (``"template"``, ``"attribute"``, ...), one for all or T of them.
        rival: (T,) int64 rival class of one-vs-one rows, -1 otherwise.
        texts: T texts, or None.
    """

    x: torch.Tensor
    class_index: torch.Tensor | None = None
    kind: str | tuple[str, ...] = "template"
    rival: torch.Tensor | None = None
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        x = _tensor(self.x, "text features", (2, 3))
        if x.ndim == 3:
            prompts, classes, _ = x.shape
            if self.class_index is not None:
                raise DataError("text features of shape (P, C, D) take no class_index: it is implied.")
            _put(self, "class_index", torch.arange(classes).repeat(prompts))
            x = x.flatten(0, 1)
        elif self.class_index is None:
            _put(self, "class_index", torch.arange(len(x)))
        _put(self, "x", x)
        _finite(x, "text features")
        _put(self, "class_index", _tensor(self.class_index, "class_index", (1,), integer=True))  # type: ignore[arg-type] # set above
        rival = torch.full((len(x),), -1) if self.rival is None else _tensor(self.rival, "rival", (1,), integer=True)
        _put(self, "rival", rival)
        _put(self, "kind", (self.kind,) * len(x) if isinstance(self.kind, str) else tuple(self.kind))
        if self.texts is not None:
            _put(self, "texts", tuple(self.texts))
        for name in ("class_index", "rival", "kind", "texts"):
            value = getattr(self, name)
            if value is not None and len(value) != len(x):
                raise DataError(f"{name} has {len(value)} rows but there are {len(x)} text features.")
        if len(x) and int(self.class_index.min()) < 0:  # type: ignore[union-attr] # set above
            raise DataError("class_index must not be negative.")
        if len(x) and int(rival.min()) < -1:
            raise DataError("rival must be a class index, or -1 for rows that have none.")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def classes(self) -> torch.Tensor:
        """(T,) int64 class of each row."""
        assert self.class_index is not None  # noqa: S101 - set in __post_init__
        return self.class_index

    @property
    def rivals(self) -> torch.Tensor:
        """(T,) int64 rival class of one-vs-one rows, -1 otherwise."""
        assert self.rival is not None  # noqa: S101 - set in __post_init__
        return self.rival

    @property
    def n_classes(self) -> int:
        """One more than the largest class index, 0 without rows."""
        return int(self.classes.max()) + 1 if len(self) else 0

    def describing(self, kind: str = "template") -> TextFeatures:
        """The rows of `kind` of each class, or all rows of a class that has none; one-vs-one rows never."""
        alone = self.rivals < 0
        wanted = alone & torch.tensor([k == kind for k in self.kind], dtype=torch.bool)
        has = torch.bincount(self.classes[wanted], minlength=self.n_classes) > 0
        return self[wanted | (alone & ~has[self.classes])]

    def of_classes(self, numbers: Iterable[int]) -> TextFeatures:
        """The rows of some classes, which become classes 0, 1, ... in the order given; a class may be given twice.

        One-vs-one rows stay where their rival is among them.
        """
        places: dict[int, list[int]] = {-1: [-1]}
        for place, number in enumerate(numbers):
            places.setdefault(number, []).append(place)
        found = [
            (row, place, rival)
            for row, (c, r) in enumerate(zip(self.classes.tolist(), self.rivals.tolist(), strict=True))
            for place in places.get(c, ())
            for rival in places.get(r, ())
        ]
        kept = self[[row for row, _, _ in found]]
        _put(kept, "class_index", torch.tensor([place for _, place, _ in found], dtype=torch.int64))
        _put(kept, "rival", torch.tensor([rival for _, _, rival in found], dtype=torch.int64))
        return kept

    def __getitem__(self, index: ArrayLike | slice) -> TextFeatures:
        rows = _rows(index, len(self))
        numbers = rows.tolist()
        return TextFeatures(
            self.x[rows],
            self.classes[rows],
            kind=tuple(self.kind[i] for i in numbers),
            rival=self.rivals[rows],
            texts=None if self.texts is None else tuple(self.texts[i] for i in numbers),
        )

    def classifier(self, rule: AveragingRule = "mean_unit_renorm") -> torch.Tensor:
        """Average the rows of each class.

        Args:
            rule: ``raw_mean`` (mean of raw rows; TaskRes, CLAP), ``unit_mean`` (mean of unit rows), or
                ``mean_unit_renorm`` (mean of unit rows, scaled to length 1; CLIP's ensembling).

        Returns:
            (C, D), float32 or float64.

        Raises:
            DataError: a class has no text.
        """
        rows = self.x if self.x.dtype in {torch.float32, torch.float64} else self.x.float()
        rows = rows if rule == "raw_mean" else unit_rows(rows)
        counts = torch.bincount(self.classes, minlength=self.n_classes)
        if not bool((counts > 0).all()):
            raise DataError(f"class number {int((counts == 0).nonzero()[0])} has no text: give each class one.")
        sums = torch.zeros(self.n_classes, rows.shape[1], dtype=rows.dtype).index_add_(0, self.classes, rows)
        mean = sums / counts[:, None]
        return unit_rows(mean) if rule == "mean_unit_renorm" else mean


@dataclass(frozen=True, eq=False)
class Task:
    """Everything a method may look at.

    Attributes:
        class_names: C unique names.
        text: text features of the classes, or None.
        support: labelled rows (no -1), or None.
        validation: labelled rows for choosing hyper-parameters, or None.
        unlabeled: rows without labels, or None.
        query: the batch that a transductive method may look at, without labels, or None.
        group_captions: text features of captions of groups of unlabeled images, by the class that names alone give the
            group, or None.
        logit_scale: what multiplies cosines, positive; 100 for CLIP.
        projection: (D', D) last matrix of the image tower, for `pre_projection` features, or None.
        projection_bias: (D,) vector added after it, or None (CLIP's ResNets have one).
        access: the model itself, where a method may use more than stored features.
        workspace: a folder where a long fit keeps what it has done so far, so that it can go on after a kill, or None.
        seed: all randomness of a fit comes from here.
        quiet: whether a long fit keeps its progress to itself.

    Raises:
        DataError: names repeat, labels lie outside the classes, or widths differ.
    """

    class_names: tuple[str, ...]
    text: TextFeatures | None = None
    support: Features | None = None
    validation: Features | None = None
    unlabeled: Features | None = None
    query: Features | None = None
    group_captions: TextFeatures | None = field(default=None, kw_only=True)
    logit_scale: float = field(default=100.0, kw_only=True)
    projection: torch.Tensor | None = field(default=None, kw_only=True)
    projection_bias: torch.Tensor | None = field(default=None, kw_only=True)
    access: Tower | BlackBox | None = field(default=None, kw_only=True)
    workspace: Path | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    quiet: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _put(self, "class_names", tuple(self.class_names))
        check_class_names(self.class_names)
        if not (self.logit_scale > 0 and math.isfinite(self.logit_scale)):
            raise DataError(f"logit_scale must be positive and finite; it is {self.logit_scale}.")
        if self.text is not None and self.text.n_classes != len(self.class_names):
            raise DataError(
                f"there are texts of {self.text.n_classes} classes but {len(self.class_names)} class names: "
                "give each class its texts."
            )
        for name in ("support", "validation"):
            if (rows := getattr(self, name)) is not None:
                self._check_labels(rows, name)
        for name in ("support", "validation", "unlabeled", "query"):
            scores = rows.scores if (rows := getattr(self, name)) is not None else None
            if scores is not None and scores.shape[2] != len(self.class_names):
                raise DataError(
                    f"scores of the {name} set are those of {scores.shape[2]} classes, "
                    f"but there are {len(self.class_names)} class names: ask for the scores of these classes."
                )
        for name in ("unlabeled", "query"):
            if (rows := getattr(self, name)) is not None:
                _put(self, name, rows.without_labels())
        if self.group_captions is not None and self.group_captions.n_classes > len(self.class_names):
            raise DataError("group captions are given for more classes than there are class names.")
        self._check_widths()

    def _check_labels(self, rows: Features, what: str) -> None:
        labels = rows.labels
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= len(self.class_names)):
            raise DataError(
                f"labels of the {what} set must lie in 0..{len(self.class_names) - 1}; "
                f"they range from {int(labels.min())} to {int(labels.max())} (rows without a label go to `unlabeled`)."
            )

    def _check_widths(self) -> None:
        widths = {
            n: f.dim for n in ("support", "validation", "unlabeled", "query") if (f := getattr(self, n)) is not None
        }
        for n, text in (("text", self.text), ("group_captions", self.group_captions)):
            if text is not None:
                widths[n] = int(text.x.shape[1])
        if len(set(widths.values())) > 1:
            shown = ", ".join(f"{name} {width}" for name, width in widths.items())
            raise DataError(f"all features must have the same width; they have: {shown}.")
        if self.projection is not None:
            self._check_projection(self.projection, set(widths.values()))

    def _check_projection(self, given: torch.Tensor, widths: set[int]) -> None:
        projection = _tensor(given, "the projection", (2,))
        _finite(projection, "the projection")
        _put(self, "projection", projection)
        if widths and projection.shape[1] not in widths:
            raise DataError(
                f"the projection must be (D', D) with D = {min(widths)}, the features' width; "
                f"its shape is {tuple(projection.shape)}."
            )
        for name in ("support", "validation", "unlabeled", "query"):
            rows: Features | None = getattr(self, name)
            if rows is not None and rows.pre_projection is not None:
                width = rows.pre_projection.shape[1]
                if width != projection.shape[0]:
                    raise DataError(
                        f"pre_projection features of the {name} set are {width} wide, "
                        f"but the projection takes {projection.shape[0]}."
                    )

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def shots(self) -> tuple[int, ...]:
        """Labelled support rows per class, generated images included."""
        if self.support is None:
            return (0,) * self.n_classes
        return tuple(torch.bincount(self.support.labels, minlength=self.n_classes).tolist())

    @property
    def labels_per_class(self) -> tuple[int, ...]:
        """Labelled support rows per class, generated images left out: what somebody had to label."""
        if self.support is None:
            return (0,) * self.n_classes
        real = self.support.labels[~self.support.is_generated]
        return tuple(torch.bincount(real, minlength=self.n_classes).tolist())

    def supplies(self) -> frozenset[Need]:
        """The data needs that this task meets."""
        support = self.support if self.support is not None and len(self.support) else None
        rows = [f for f in (support, self.unlabeled, self.query) if f is not None]
        have = {
            Need.TEXT: self.text is not None,
            Need.LABELS: support is not None,
            Need.VALIDATION: self.validation is not None and len(self.validation) > 0,
            Need.UNLABELED: self.unlabeled is not None and len(self.unlabeled) > 0,
            Need.QUERY: self.query is not None,
            Need.VIEWS: support is not None and support.views is not None,
            Need.PRE_PROJECTION: self.projection is not None
            and bool(rows)
            and all(f.pre_projection is not None for f in rows),
            Need.SECOND: bool(rows) and all(f.second is not None for f in rows),
            Need.RAW_NORMS: bool(rows) and not any(f.unit or not f.dim for f in rows),
            Need.IMAGES: bool(rows) and all(f.source is not None for f in rows),
            Need.SCORES: bool(rows)
            and (all(f.scores is not None for f in rows) or (self.text is not None and all(f.dim for f in rows))),
            Need.CAPTIONS: self.group_captions is not None
            or (self.unlabeled is not None and bool(self.unlabeled.captioned.any())),
        }
        return frozenset(need for need, met in have.items() if met)

    def grants(self) -> frozenset[Access]:
        """The capabilities of the model behind this task; stored features count as ``features`` and ``scores``."""
        granted = self.access.access if self.access is not None else frozenset()
        rows = [f for n in ("support", "validation", "unlabeled", "query") if (f := getattr(self, n)) is not None]
        if all(f.dim for f in rows):
            return granted | {Access.FEATURES, Access.SCORES}
        return granted - {Access.FEATURES} | ({Access.SCORES} if all(f.scores is not None for f in rows) else set())


def check_class_names(names: Iterable[str]) -> None:
    """Refuse class names that are missing, empty or repeated.

    Raises:
        DataError: names what is wrong with which name.
    """
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"class names must be text; one is {name!r}.")
        if not name.strip():
            raise DataError("a class name is empty: give every class a name.")
        if name in seen:
            raise DataError(f"the class name {name!r} appears twice: make the class names unique.")
        seen.add(name)
    if not seen:
        raise DataError("there are no classes: give at least one class name.")
