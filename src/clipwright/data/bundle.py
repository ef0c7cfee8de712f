"""Feature bundles: one ``.npz`` that brings features in place of images.

Keys (n images, C classes, D dimensions, P prompts): `image_features` (n, D); `labels` (n,) integers, -1 = unlabeled;
`class_names` (C,); `text_features` (C, D) or (P, C, D); and, optional, `views` (n, V, D), `pre_projection` (n, D'),
`projection` (D', D), `second` (n, D2), `split` (n,) of train, val, test, `ids` (n,), `prompts` (P,), `templates`,
`logit_scale`, `unit`, `format`. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.core.atomic import atomic_file
from clipwright.core.errors import DataError, FormatError
from clipwright.data.checks import notes_of
from clipwright.data.dataset import Bundle, Dataset, manifest, split_array
from clipwright.data.names import ClassList, rename, resolve
from clipwright.data.splits import split_of
from clipwright.task import Features, TextFeatures, check_class_names

FORMAT = 1
_UNIT_TOLERANCE = 2e-3  # float16 rounds a unit vector's length by at most about 5e-4
_OPTIONAL = ("views", "pre_projection", "second")
_KEYS = frozenset(
    {"image_features", "labels", "class_names", "text_features", *_OPTIONAL, "projection", "split", "ids", "prompts"}
    | {"templates", "logit_scale", "unit", "format"}
)

Arrays = Mapping[str, np.ndarray]


def open_bundle(
    path: Path, classes: ClassList | None = None, *, name: str | None = None, clean: bool = True
) -> Dataset:
    """The data set of a feature bundle; float16 stays float16.

    Args:
        path: the ``.npz`` file.
        classes: names in index order, instead of or for want of the bundle's own.
        name: what reports call it; by default the file's name.
        clean: whether names from `classes` are cleaned; a bundle's own stay as they are.

    Raises:
        FormatError: no bundle, damaged, or newer than this clipwright.
        DataError: arrays that don't fit each other.
    """
    arrays = _read(path)
    try:
        return _dataset(path, arrays, classes, name or path.stem, clean)
    except FormatError:
        raise
    except DataError as error:
        raise DataError(f"the bundle {path.name}: {error}") from error


def save_bundle(path: Path, data: Dataset, *, compress: bool = True) -> None:
    """Write a data set that holds features as one ``.npz``, whole or not at all.

    Raises:
        DataError: `data` holds images, or classes with different numbers of texts.
    """
    if data.bundle is None:
        raise DataError(f"{data.name} holds images, not features: extract them first.")
    features, bundle = data.bundle.features, data.bundle
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "image_features": features.x.numpy(),
        "labels": data.labels,
        "class_names": np.array(data.class_names),
        "split": data.splits,
        "ids": np.array(data.ids),
        "logit_scale": np.array(bundle.logit_scale, dtype=np.float32),
        "unit": np.array(features.unit),
    }
    for key in _OPTIONAL:
        if (value := getattr(features, key)) is not None:
            arrays[key] = value.numpy()
    if bundle.projection is not None:
        arrays["projection"] = np.asarray(bundle.projection)
    if bundle.text is not None:
        arrays["text_features"] = _dense(bundle.text, len(data.class_names)).numpy()
    for key, texts in (("prompts", bundle.prompts), ("templates", data.templates)):
        if texts:
            arrays[key] = np.array(texts)
    with atomic_file(path) as stream:
        (np.savez_compressed if compress else np.savez)(stream, **arrays)  # type: ignore[arg-type] # arrays, not a flag


def _dense(text: TextFeatures, n_classes: int) -> torch.Tensor:
    """(P, C, D) of flat rows."""
    order = torch.argsort(text.classes, stable=True)
    counts = torch.bincount(text.classes, minlength=n_classes)
    if not bool((counts == counts[0]).all()):
        raise DataError("a bundle holds the same number of texts for each class; these classes have different numbers.")
    return text.x[order].reshape(n_classes, int(counts[0]), -1).transpose(0, 1).contiguous()


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise FormatError(f"{path} holds a single array and is no feature bundle: save one with numpy.savez.")
        with loaded as archive:
            return {key: archive[key] for key in archive.files if key in _KEYS}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error) and "Object arrays" in str(error):
            raise FormatError(
                f"{path} holds Python objects, which are never loaded: save texts as arrays of strings, "
                "and the rest as numbers."
            ) from error
        why = "it is no archive" if "pickle" in str(error) else error  # NumPy's advice would be to unpickle it
        raise FormatError(f"{path} is no feature bundle or is damaged ({why}): make it again.") from error
    except OSError as error:
        raise FormatError(f"{path} can't be read ({error.strerror or error}): check the path.") from error


def _dataset(path: Path, arrays: Arrays, classes: ClassList | None, name: str, clean: bool) -> Dataset:
    version = int(_scalar(arrays, "format", FORMAT))
    if version > FORMAT:
        raise FormatError(
            f"{path} has bundle format {version}, this clipwright reads up to {FORMAT}: update clipwright."
        )
    if "image_features" not in arrays:
        raise FormatError(
            f"{path} has no array 'image_features' and so is no feature bundle: see the docs for its keys."
        )
    n = len(_numbers(arrays, "image_features", 2))
    class_names = _class_names(arrays, classes, clean)
    labels = _labels(arrays, n, class_names)
    features = _features(arrays, labels)
    text = _text(arrays, class_names, features.dim)
    prompts = _strings(arrays, "prompts")
    given = len(text) // len(class_names) if text is not None else len(prompts)
    if prompts and len(prompts) != given:
        raise DataError(f"there are {len(prompts)} prompts but text features of {given}.")
    projection = _projection(arrays, features)
    bundle = Bundle(features, text, prompts or None, _logit_scale(arrays), projection)
    splits = [split_of(cell, "'split'") for cell in _strings(arrays, "split", n)]
    digest = hashlib.sha256(features.x.contiguous().view(torch.uint8).numpy().tobytes()).digest()
    version_of_content = int.from_bytes(digest[:7], "big")
    table = manifest(
        features.ids or (),
        labels,
        split_array(splits) if splits else None,
        sizes=np.full(n, features.x[0].nbytes if n else 0, dtype=np.int64),
        mtimes=np.full(n, version_of_content, dtype=np.int64),
    )
    data = Dataset(name, class_names, table, None, bundle, templates=_strings(arrays, "templates"), root=path)
    return data.with_notes(*notes_of(data))


def _scalar(arrays: Arrays, key: str, default: float) -> Any:
    value = arrays.get(key)
    if value is None:
        return default
    if value.size != 1 or value.dtype.kind not in "biuf":
        raise DataError(f"{key!r} must be one number; it is {value.dtype}, shape {value.shape}.")
    return value.reshape(()).item()


def _numbers(arrays: Arrays, key: str, *dims: int) -> np.ndarray:
    value = arrays[key]
    if value.dtype.kind not in "iuf":
        raise DataError(f"{key!r} must be numbers; it is {value.dtype}.")
    if value.ndim not in dims:
        wanted = " or ".join(map(str, dims))
        raise DataError(f"{key!r} must have {wanted} dimensions; its shape is {value.shape}.")
    # torch has neither big-endian nor extended floats
    return (
        value.astype(np.float32)
        if value.dtype.kind == "f" and value.dtype.itemsize > 8
        else value.astype(value.dtype.newbyteorder("="), copy=False)
    )


def _strings(arrays: Arrays, key: str, n: int | None = None) -> tuple[str, ...]:
    value = arrays.get(key)
    if value is None:
        return ()
    if value.dtype.kind != "U" or value.ndim != 1:
        raise DataError(f"{key!r} must be a list of strings; it is {value.dtype}, shape {value.shape}.")
    if n is not None and len(value) != n:
        raise DataError(f"{key!r} has {len(value)} entries but there are {n} images.")
    return tuple(value.tolist())


def _class_names(arrays: Arrays, classes: ClassList | None, clean: bool) -> tuple[str, ...]:
    own = _strings(arrays, "class_names")
    if own:
        check_class_names(own)
        return rename(own, classes, clean=clean)
    if classes is None:
        raise DataError("there are no 'class_names': add them, or name the classes with --classes names.txt.")
    return resolve((), classes, clean=clean).class_names


def _labels(arrays: Arrays, n: int, class_names: tuple[str, ...]) -> np.ndarray:
    if "labels" not in arrays:
        return np.full(n, -1, dtype=np.int64)
    labels = arrays["labels"]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"'labels' must be a list of whole numbers; they are {labels.dtype}, shape {labels.shape}.")
    if len(labels) != n:
        raise DataError(f"there are {len(labels)} labels but {n} rows of image features.")
    labels = labels.astype(np.int64)
    if n and (labels.min() < -1 or labels.max() >= len(class_names)):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()} but there are {len(class_names)} class names: "
            "labels must be 0 for the first class and so on, -1 for unlabeled."
        )
    return labels


def _features(arrays: Arrays, labels: np.ndarray) -> Features:
    x = torch.from_numpy(_numbers(arrays, "image_features", 2))
    n = len(x)
    if not n:
        raise DataError("there are no rows of image features: put some in.")
    norms = x.float().norm(dim=1)
    _some_direction(norms, "image features")
    unit = bool(_scalar(arrays, "unit", bool(((norms - 1).abs() < _UNIT_TOLERANCE).all())))
    ids = _strings(arrays, "ids", n) or tuple(f"{i:0{len(str(n - 1))}d}" for i in range(n))
    if len(set(ids)) < n:
        raise DataError("some 'ids' appear twice: make them unique.")
    more = {
        key: torch.from_numpy(_numbers(arrays, key, 3 if key == "views" else 2)) for key in _OPTIONAL if key in arrays
    }
    return Features(x, torch.from_numpy(labels), ids, unit=unit, **more)  # type: ignore[arg-type] # three known keys


def _text(arrays: Arrays, class_names: tuple[str, ...], dim: int) -> TextFeatures | None:
    if "text_features" not in arrays:
        return None
    values = _numbers(arrays, "text_features", 2, 3)
    if values.shape[-2] != len(class_names):
        raise DataError(
            f"text features are of {values.shape[-2]} classes but there are {len(class_names)} class names."
        )
    if values.shape[-1] != dim:
        raise DataError(f"text features have {values.shape[-1]} dimensions but image features have {dim}.")
    text = TextFeatures(torch.from_numpy(values))
    _some_direction(text.x.float().norm(dim=1), "text features")
    return text


def _some_direction(norms: torch.Tensor, what: str) -> None:
    """Refuse rows of zeros, which point nowhere."""
    if bool((norms == 0).any()):
        rows = (norms == 0).nonzero()[:, 0]
        raise DataError(
            f"{what} are all zeros in {len(rows)} of {len(norms)} rows (first: row {int(rows[0])}); remove those rows "
            "or extract them again."
        )


def _projection(arrays: Arrays, features: Features) -> np.ndarray | None:
    if "projection" not in arrays:
        return None
    projection = _numbers(arrays, "projection", 2)
    inner = features.pre_projection.shape[1] if features.pre_projection is not None else projection.shape[0]
    if projection.shape != (inner, features.dim):
        raise DataError(f"'projection' must have the shape ({inner}, {features.dim}); it has {projection.shape}.")
    return projection


def _logit_scale(arrays: Arrays) -> float:
    scale = float(_scalar(arrays, "logit_scale", 100.0))
    if not 0 < scale < float("inf"):
        raise DataError(f"'logit_scale' must be positive; it is {scale}.")
    return scale
