"""Bases for TaskRes: class vectors tuned on the support set first, or given by the user."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, Restricted
from clipwright.heads.io import restore_head
from clipwright.heads.linear import LinearHead
from clipwright.training.batches import Batches
from clipwright.training.loop import train
from clipwright.training.threads import threads_for

KINDS = ("text_features", "projection")
"""What a given base is made of: one of these arrays."""

_ARRAYS = (*KINDS, "original", "text_pre_projection")
_UNEXPLAINED = 0.05  # share of the texts' length that the original projection may fail to give back


def tuned_texts(
    x: torch.Tensor | Callable[[int], torch.Tensor],
    y: torch.Tensor,
    texts: torch.Tensor,
    *,
    batches: Batches | Sequence[Sequence[torch.Tensor]],
    learning_rates: Sequence[float],
    logit_scale: float = 100.0,
) -> torch.Tensor:
    """Multiply the class texts by a matrix that is tuned, from the identity, on the cross-entropy of the images.

    The matrix stands for a text projection: whatever tuning a model's own projection does to the texts, a matrix after
    it can do too, as long as that projection has full rank and is no wider than the embedding.

    Args:
        x: (N, D) image features of any length, or a function from the epoch to them.
        y: (N,) int64 classes.
        texts: (C, D) class texts; its dtype is computed in.
        batches: rows of each batch, by epoch: a function from the epoch, or one list of batches per epoch.
        learning_rates: Adam's, one per epoch.
        logit_scale: multiplies the cosines.

    Returns:
        (C, D): ``texts @ matrix``, each row as long as it was.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    rows_of = batches if callable(batches) else batches.__getitem__
    with torch.inference_mode(False), threads_for(len(y) * texts.numel()):
        start = unit_rows(texts.clone())
        change = start.new_zeros(start.shape[1], start.shape[1]).requires_grad_()

        def pairs(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
            rows = unit_rows(x(epoch) if callable(x) else x).to(start.dtype)
            return [(rows[batch], y[batch]) for batch in rows_of(epoch)]

        def loss(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            weight = unit_rows(start + start @ change)
            return torch.nn.functional.cross_entropy(logit_scale * pair[0] @ weight.T, pair[1])

        train(torch.optim.Adam([change]), loss, pairs, learning_rates)
        tuned: torch.Tensor = unit_rows(start + start @ change.detach()) * texts.norm(dim=-1, keepdim=True)
        return tuned


@dataclass(frozen=True, eq=False)
class GivenBase:
    """Arrays that the user supplies in place of the class texts; equal where the arrays are.

    Attributes:
        text_features: (C, D), one vector per class, or None.
        projection: (D, d_t) a tuned text projection, or None.
        original: (D, d_t) the model's own text projection, from which the task's texts came, or None.
        text_pre_projection: (C, d_t) class texts before the projection, or None.
        class_names: C names of the rows, or None where they are in the task's order.
        source: what messages call it.

    Raises:
        DataError: not one of `KINDS`, or arrays that don't fit each other.
    """

    text_features: torch.Tensor | None = None
    projection: torch.Tensor | None = None
    original: torch.Tensor | None = None
    text_pre_projection: torch.Tensor | None = None
    class_names: tuple[str, ...] | None = None
    source: str = "the base"

    def __post_init__(self) -> None:
        given = {name: a for name in _ARRAYS if (a := getattr(self, name)) is not None}
        if sum(kind in given for kind in KINDS) != 1:
            raise DataError(
                f"{self.source} must hold either 'text_features' (C, D) or a 'projection' (D, d_t); "
                f"it holds {', '.join(given) or 'neither'}."
            )
        for name, array in given.items():
            if array.ndim != 2 or not array.is_floating_point():
                raise DataError(f"{name!r} of {self.source} must be a matrix of numbers; it is {_shape(array)}.")
            if not bool(torch.isfinite(array).all()):
                raise DataError(f"{name!r} of {self.source} holds NaN or infinity: make the file again.")
        self._check_projection()
        rows = self.text_features if self.text_features is not None else self.text_pre_projection
        if self.class_names is not None and rows is not None and len(self.class_names) != len(rows):
            raise DataError(f"{self.source} has {len(self.class_names)} class names but {len(rows)} rows.")

    def _check_projection(self) -> None:
        if self.projection is None:
            return
        if (self.original is None) == (self.text_pre_projection is None):
            raise DataError(
                f"{self.source} holds a projection, which needs either 'original', the model's own text projection in "
                "the same shape, or 'text_pre_projection', the class texts before it."
            )
        if self.original is not None and self.original.shape != self.projection.shape:
            raise DataError(
                f"'projection' of {self.source} is {_shape(self.projection)} but 'original' is "
                f"{_shape(self.original)}: both must be (D, d_t)."
            )
        before = self.text_pre_projection
        if before is not None and before.shape[1] != self.projection.shape[1]:
            raise DataError(
                f"'text_pre_projection' of {self.source} is {_shape(before)} but the projection takes "
                f"{self.projection.shape[1]} numbers: it must be (C, d_t)."
            )

    @property
    def digest(self) -> str:
        """12 hex digits of the arrays and names."""
        sha = hashlib.sha256(repr(self.class_names).encode())
        for name in _ARRAYS:
            if (array := getattr(self, name)) is not None:
                sha.update(f"{name}{tuple(array.shape)}{array.dtype}".encode())
                sha.update(array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenBase) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        kind = KINDS[0] if self.text_features is not None else KINDS[1]
        return f"{kind} {_shape(getattr(self, kind))} #{self.digest}"

    def vectors(self, class_names: Sequence[str], texts: torch.Tensor) -> torch.Tensor:
        """(C, D) base of a task, in the dtype of its texts.

        Args:
            class_names: the task's C names.
            texts: (C, D) its averaged class texts.

        Raises:
            DataError: other widths or classes, or texts that the original projection didn't make.
        """
        if self.text_features is not None:
            return self._of_classes(self._width(self.text_features, texts), class_names).to(texts.dtype)
        assert self.projection is not None  # noqa: S101 - one of the two
        tuned = self._width(self.projection.T, texts).to(texts.dtype)
        if self.text_pre_projection is not None:
            return self._of_classes(self.text_pre_projection, class_names).to(texts.dtype) @ tuned
        assert self.original is not None  # noqa: S101 - one of the two
        return self._before(self.original.T.to(texts.dtype), texts) @ tuned

    def _before(self, own: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """(C, d_t) the texts before the model's own (d_t, D) projection."""
        narrow, wide = own.shape
        if narrow > wide or int(torch.linalg.matrix_rank(own)) < narrow:
            raise DataError(
                f"texts can't be taken back through the 'original' of {self.source}: "
                "give 'text_pre_projection', the class texts before the projection."
            )
        before: torch.Tensor = torch.linalg.lstsq(own.T, texts.T).solution.T
        if float((before @ own - texts).norm()) > _UNEXPLAINED * float(texts.norm()):
            raise DataError(f"the task's texts weren't made with the 'original' projection of {self.source}.")
        return before

    def _width(self, rows: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        if rows.shape[1] != texts.shape[1]:
            raise DataError(
                f"{self.source} is for features {rows.shape[1]} wide, but those of the task are {texts.shape[1]} wide."
            )
        return rows

    def _of_classes(self, rows: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor:
        if self.class_names is None:
            if len(rows) != len(class_names):
                raise DataError(
                    f"{self.source} has {len(rows)} rows but there are {len(class_names)} classes: "
                    "give one row per class in their order, or 'class_names'."
                )
            return rows
        place = {name: row for row, name in enumerate(self.class_names)}
        lacking = [name for name in class_names if name not in place]
        if lacking:
            raise DataError(f"{self.source} has no row for the class {lacking[0]!r}: its names must hold the task's.")
        return rows[[place[name] for name in class_names]]


def _shape(array: torch.Tensor) -> str:
    return " x ".join(map(str, array.shape)) or "a single number"


# --- where bases come from --------------------------------------------------------------------------------------------


def as_base(value: Any, *, directions: bool = False) -> GivenBase:
    """The base in a matrix (C, D), a mapping of arrays, or a Classifier (or whatever has a head and class names).

    Args:
        value: one of these.
        directions: only where class vectors point is wanted: a classifier's may differ in length, and its biases are
            left out.

    Raises:
        DataError: says what can't be a base.
    """
    if isinstance(value, GivenBase):
        return value
    if hasattr(value, "fitted") and hasattr(value, "class_names"):
        return _of_head(value.fitted.head, value.class_names, "the classifier", directions=directions)
    arrays = dict(value) if isinstance(value, Mapping) else {"text_features": value}
    return _of_arrays(arrays, arrays.pop("class_names", None), "the base")


def read_base(path: str | Path, *, directions: bool = False) -> GivenBase:
    """The base in an ``.npz`` or ``.safetensors`` file, or in the folder of a saved classifier; nothing is unpickled.

    A file holds the arrays that `GivenBase` names. ``class_names`` are an array of text in an ``.npz``, a JSON list in
    the metadata of a ``.safetensors``. `directions` is that of `as_base`.

    Raises:
        FormatError: no such file, damaged, or not of these kinds.
        DataError: what it holds can't be a base.
    """
    path = Path(path)
    if path.is_dir():
        return _read_classifier(path, directions=directions)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise FormatError(f"{path} can't be a base: give an .npz or .safetensors file, or a saved classifier's folder.")
    if not path.is_file():
        raise FormatError(f"there is no base at {path}: give the file's place, 'regular' or 'enhanced'.")
    arrays, names = readers[path.suffix](path)
    return _of_arrays(arrays, names, path.name)


def _of_arrays(arrays: Mapping[str, Any], names: Any, source: str) -> GivenBase:
    unknown = sorted(set(arrays) - set(_ARRAYS))
    known = {name: _matrix(arrays[name], name, source) for name in _ARRAYS if arrays.get(name) is not None}
    if unknown and not known:
        raise DataError(f"{source} must hold 'text_features' or a 'projection'; it holds {', '.join(unknown)}.")
    if names is not None and (isinstance(names, str) or not all(isinstance(name, str) for name in names)):
        raise DataError(f"the class names of {source} must be a list of texts.")
    return GivenBase(**known, class_names=None if names is None else tuple(map(str, names)), source=source)


def _matrix(value: Any, name: str, source: str) -> torch.Tensor:
    try:
        array = value.detach().clone() if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name!r} of {source} can't be read as a matrix: {error}.") from error
    return array if array.dtype in {torch.float32, torch.float64} else array.float()


def _read_npz(path: Path) -> tuple[dict[str, Any], Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise FormatError(f"{path} holds a single array: save it by name with numpy.savez.")
        with loaded as archive:
            arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise FormatError(f"{path} can't be read as arrays of numbers and texts: save it with numpy.savez.") from error
    names = arrays.pop("class_names", None)
    return arrays, None if names is None else names.tolist()


def _read_safetensors(path: Path) -> tuple[dict[str, Any], Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            names = json.loads((file.metadata() or {}).get("class_names", "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path} is no safetensors file, or it is damaged: {error}.") from error
    if names is not None and not isinstance(names, list):
        raise DataError(f"the class names of {path.name} must be a JSON list of texts.")
    return arrays, names


def _read_classifier(folder: Path, *, directions: bool) -> GivenBase:
    # The artefact's own reader stands in a room above this one and wants its backbone; a base needs two entries of it.
    import safetensors.torch

    try:
        saved = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        blob = (folder / Path(saved["weights"]).name).read_bytes()
        if hashlib.sha256(blob).hexdigest() != saved["sha256"]:
            raise FormatError(f"the weights in {folder} are damaged (their hash differs): copy or fit it again.")
        names, state = saved["class_names"], safetensors.torch.load(blob)
        head = restore_head(saved["head"], state)
    except FileNotFoundError as error:
        raise FormatError(f"{folder} is no saved classifier: give the folder that fit wrote.") from error
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise FormatError(f"the classifier in {folder} is damaged ({error}): copy or fit it again.") from error
    return _of_head(head, names, f"the classifier in {folder.name}", directions=directions)


def _of_head(head: Head, class_names: Sequence[str], source: str, *, directions: bool = False) -> GivenBase:
    index = head.class_index if isinstance(head, Restricted) else torch.arange(head.n_classes)
    linear = head.head if isinstance(head, Restricted) else head
    if not isinstance(linear, LinearHead) or (bool(linear.bias.any()) and not directions):
        raise DataError(f"{source} can't be a base: it is more than one vector per class (no bias, no further parts).")
    weight = linear.weight[index]
    lengths = weight.norm(dim=-1)
    if not directions and float(lengths.max() - lengths.min()) > 1e-3 * float(lengths.max()):
        raise DataError(f"{source} can't be a base: its class vectors differ in length, which TaskRes doesn't keep.")
    return _of_arrays({"text_features": weight}, list(class_names), source)
