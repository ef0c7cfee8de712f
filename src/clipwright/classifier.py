"""The artefact: a backbone reference, a fitted head, class names and a temperature; predicts, saves, loads."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from PIL import Image

from clipwright import __version__
from clipwright.backbones import resolve
from clipwright.backbones.endpoint import DEFAULT_TEMPLATE, EndpointBackbone
from clipwright.backbones.saving import NOTE_FILE, TUNED, saved_library
from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import BackboneError, DataError, FormatError, UsageError
from clipwright.data.dataset import UnreadableImageError
from clipwright.data.images import FileReader, upright_rgb
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.base import describe
from clipwright.heads.io import head_state, restore_head
from clipwright.task import Features, TowerUpdate, check_class_names

if TYPE_CHECKING:
    from clipwright.backbones.base import Backbone, BackboneRef

KIND = "clipwright-classifier"
FORMAT = 2
_PLAIN = 1  # what a classifier without a changed tower or a second backbone is written as: older versions read it
TOWER = "tower"
"""Folder, inside that of a classifier, of an image tower that the fit changed."""
_MANIFEST = "classifier.json"
_PROMPT = "clipwright.prompt"
_CONTENT = 16  # hex digits of a content hash that are kept: 64 bits tell images apart

ImageLike = str | Path | Image.Image | np.ndarray
_Decoded = list[np.ndarray]  # pixels as each of the backbones wants them
Answer = tuple[str, str | None]  # an image's path or number, and why it couldn't be read


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image.

    Attributes:
        path: the image's path, or its number where it had none.
        label: most probable class, or None where the image couldn't be read.
        confidence: probability of `label`, 0..1.
        top: the most probable classes with their probabilities, descending.
        error: why there is no label, or None.
    """

    path: str
    label: str | None
    confidence: float
    top: tuple[tuple[str, float], ...]
    error: str | None = None


class Classifier:
    """Predicts the class of images.

    Args:
        fitted: what a method's `fit` returned.
        class_names: C names, in the order of the logits.
        backbone: `BackboneRef.describe()` of the model whose features the head takes, or None where they were given;
            where the fit changed its tower, that of the model as it was.
        second: the same of the second model, where the head takes features of two.
        temperature: what logits are divided by before the softmax, positive; 1 = uncalibrated.
        card: what was run, JSON; travels with the classifier.
        support_contents: SHA-256 (hex) of the images it was fitted on, so that `evaluate` can tell when it meets them.
        device: where the backbone is to run; the best there is when left out.
    """

    def __init__(
        self,
        fitted: Fitted,
        class_names: Sequence[str],
        *,
        backbone: Mapping[str, Any] | None,
        second: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
        card: Mapping[str, Any] | None = None,
        support_contents: Sequence[str] = (),
        device: str | None = None,
    ) -> None:
        if fitted.head.n_classes != len(class_names):
            raise DataError(f"the head has {fitted.head.n_classes} classes but there are {len(class_names)} names.")
        if not all(isinstance(name, str) for name in class_names):
            raise DataError("class names must be text.")
        check_class_names(class_names)
        if not (temperature > 0 and np.isfinite(temperature)):
            raise DataError(f"temperature must be positive and finite; it is {temperature}.")
        self.fitted = fitted
        self.class_names = tuple(class_names)
        self.backbone, self.second = _plain(backbone), _plain(second)
        self.temperature = float(temperature)
        self.card = dict(card or {})
        self.support_contents = tuple(content[:_CONTENT] for content in support_contents)
        self._device = device
        self._ref: BackboneRef | None = None
        self._second_ref: BackboneRef | None = None

    def __repr__(self) -> str:
        spec = self.backbone["spec"] if self.backbone else "features"
        return f"Classifier({self.card.get('method', '?')}, {len(self.class_names)} classes, {spec})"

    # --- predicting -------------------------------------------------------------------------------------------

    def backbone_ref(self, device: str | None = None) -> BackboneRef:
        """The backbone that this classifier was fitted on, checked to be the same.

        Args:
            device: where it is to run; the classifier's own device when left out.

        Raises:
            BackboneError: fitted on ready-made features, or the weights found here are others.
        """
        if self.backbone is None:
            raise BackboneError(
                "this classifier was fitted on ready-made features and has no backbone: give it features, not images."
            )
        if self._ref is None or (device is not None and device != self._device):
            ref = checked(self.backbone, device or self._device)
            self._ref, self._device = ref if self.fitted.tower is None else self._tuned(ref), device or self._device
        return self._ref

    def second_ref(self) -> BackboneRef | None:
        """The second backbone that the head takes features of, checked to be the same; None where it takes none."""
        if self._second_ref is None and self.second is not None:
            self._second_ref = checked(self.second, self._device)
        return self._second_ref

    def _tuned(self, ref: BackboneRef) -> BackboneRef:
        from clipwright.backbones.tuned import TunedRef

        assert self.fitted.tower is not None  # noqa: S101 - the caller looked
        return TunedRef(ref, self.fitted.tower)

    @property
    def device(self) -> str | None:
        """Where the backbone is to run; None = the best there is."""
        return self._device

    @property
    def asks(self) -> bool:
        """Whether this classifier asks a black box for class scores, instead of taking features."""
        return "scores" in self.fitted.head.inputs and self.backbone is not None

    @property
    def said_names(self) -> tuple[str, ...]:
        """C class names as prompts say them."""
        return tuple(self.card.get("said_names") or self.class_names)

    def attach(self, backbone: Backbone) -> None:
        """Let the fitted prompt be answered by a loaded backbone.

        Raises:
            NeedsError: it takes no soft prompts.
        """
        if self.fitted.prompt is not None and self.fitted.box is None:
            self.fitted = replace(self.fitted, box=backbone.soft_prompts(self.said_names))

    def logits(self, features: Features) -> torch.Tensor:
        """(n, C) logits of features, before the temperature."""
        return self.fitted(features)

    def predict_proba(self, images: Features | Iterable[ImageLike], *, batch_size: int = 64) -> np.ndarray:
        """Class probabilities.

        Args:
            images: paths, PIL images or (H, W, 3) uint8 arrays; or Features of this classifier's backbone.
            batch_size: images encoded together.

        Returns:
            (n, C) float64, rows sum to 1; columns in the order of `class_names`.

        Raises:
            DataError: an image can't be read (`predict_iter` goes on instead).
        """
        if isinstance(images, Features):
            return self._probabilities(images)
        parts = []
        for answers, features in self._encoded(images, batch_size):
            for path, reason in answers:
                if reason is not None:
                    raise DataError(f"image {path} can't be read ({reason}): leave it out, or use predict_iter.")
            parts.append(self._probabilities(features))
        return np.concatenate(parts) if parts else np.empty((0, len(self.class_names)))

    def predict(self, images: Features | Iterable[ImageLike], *, batch_size: int = 64) -> np.ndarray:
        """(n,) names of the most probable classes; arguments as in `predict_proba`."""
        names = np.asarray(self.class_names)
        return np.asarray(names[self.predict_proba(images, batch_size=batch_size).argmax(1)])

    def predict_iter(self, images: Iterable[ImageLike], *, batch_size: int = 64, top: int = 5) -> Iterator[Prediction]:
        """Stream predictions in the order given; an image that can't be read gives a Prediction with an error."""
        if top < 1:
            raise UsageError(f"top must be at least 1; it is {top}.")
        for answers, features in self._encoded(images, batch_size):
            rows = iter(self._probabilities(features)) if len(features) else iter(())
            for path, error in answers:
                yield self._prediction(path, error, rows, top)

    def _prediction(self, path: str, error: str | None, rows: Iterator[np.ndarray], top: int) -> Prediction:
        if error is not None:
            return Prediction(path, None, 0.0, (), error)
        row = next(rows)
        order = np.argsort(-row, kind="stable")[:top]
        best = tuple((self.class_names[i], float(row[i])) for i in order)
        return Prediction(path, best[0][0], best[0][1], best)

    def _probabilities(self, features: Features) -> np.ndarray:
        if not len(features):
            return np.empty((0, len(self.class_names)))
        scaled = self.logits(features).double() / self.temperature
        return np.asarray(torch.softmax(scaled, dim=1))

    def _encoded(self, images: Iterable[ImageLike], batch_size: int) -> Iterator[tuple[list[Answer], Features]]:
        """Batches of (path, error or None) and features of those without an error; decodes ahead in threads."""
        if isinstance(images, str | Path | Image.Image | np.ndarray):
            raise UsageError("give a list of images, not a single one.")
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1; it is {batch_size}.")
        backbone = self.backbone_ref().load()
        self.attach(backbone)
        second_ref = self.second_ref()
        second = None if second_ref is None else second_ref.load()
        reader = FileReader()
        numbered = ((str(i) if isinstance(x, Image.Image | np.ndarray) else str(x), x) for i, x in enumerate(images))

        def decode(item: tuple[str, ImageLike]) -> tuple[str, _Decoded | str]:
            path, image = item
            try:
                rgb = _rgb(image, reader)
                return path, [model.preprocess.clean(rgb) for model in (backbone, second) if model is not None]
            except UnreadableImageError as error:
                return path, str(error)

        with ThreadPoolExecutor(max_workers=2) as pool:
            batches = iter(lambda: list(itertools.islice(numbered, batch_size)), [])
            ahead = [pool.submit(decode, item) for item in next(batches, [])]
            while ahead:
                following = [pool.submit(decode, item) for item in next(batches, [])]
                yield self._batch(backbone, second, [job.result() for job in ahead])
                ahead = following

    def _batch(
        self, backbone: Backbone, second: Backbone | None, decoded: list[tuple[str, _Decoded | str]]
    ) -> tuple[list[Answer], Features]:
        # By place, not by path: one path may be given twice, and an image's number may read like a path.
        answers: list[Answer] = [(path, found if isinstance(found, str) else None) for path, found in decoded]
        pixels = [found for _, found in decoded if not isinstance(found, str)]
        if not pixels:
            return answers, Features(torch.empty(0, backbone.dim), tower=self._tower)
        stacked = torch.from_numpy(np.stack([views[0] for views in pixels]))
        if self.asks and isinstance(backbone, EndpointBackbone):
            return answers, self._asked(backbone, stacked)
        encoded = backbone.images(stacked)
        others = None
        if second is not None:
            others = second.images(torch.from_numpy(np.stack([views[1] for views in pixels]))).x
        return answers, Features(encoded.x, pre_projection=encoded.pre_projection, second=others, tower=self._tower)

    @property
    def _tower(self) -> str:
        """What features of this classifier's own tower are marked with."""
        return "" if self.fitted.tower is None else self.fitted.tower.digest

    def _asked(self, backbone: EndpointBackbone, pixels: torch.Tensor) -> Features:
        """Handles of images, and their scores where no prompt of our own asks for them later."""
        handles = backbone.upload(pixels)
        scores = None
        if self.fitted.prompt is None:
            templates = self.card.get("templates") or (DEFAULT_TEMPLATE,)
            scores = backbone.scores(handles, self.said_names, templates)
        return Features(torch.empty(len(handles), 0), scores=scores, handles=tuple(handles))

    # --- saving -----------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """JSON of everything but the weights."""
        trace = self.fitted.trace
        return {
            "class_names": list(self.class_names),
            "backbone": self.backbone,
            **({} if self.second is None else {"second": self.second}),
            "head": describe(self.fitted.head),
            "temperature": self.temperature,
            "trace": vars(trace),
            "card": self.card,
            "support_contents": list(self.support_contents),
        }

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a folder: weights (safetensors), ``classifier.json``, a README card.

        The manifest is replaced last and names the weights by their hash, so a kill leaves the old or the new one.

        Raises:
            UsageError: the folder holds a classifier already and `overwrite` is false.
        """
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: give a folder to save the classifier to.")
        if (folder / _MANIFEST).exists() and not overwrite:
            raise UsageError(f"{folder} holds a classifier already: choose another folder, or allow overwriting.")
        state = head_state(self.fitted.head)
        if self.fitted.prompt is not None:
            state[_PROMPT] = self.fitted.prompt.detach().float().cpu().contiguous()
        blob = safetensors.torch.save(state)
        sha = hashlib.sha256(blob).hexdigest()
        weights = f"head-{sha[:12]}.safetensors"
        write_bytes(folder / weights, blob)
        write_bytes(folder / "README.md", self._readme().encode())
        tower = self._save_tower(folder)
        version = _PLAIN if not tower and self.second is None else FORMAT
        manifest = {"kind": KIND, "format": version, "clipwright": __version__, "weights": weights, "sha256": sha}
        write_json(folder / _MANIFEST, manifest | tower | self.describe())
        kept = {weights, tower.get("tower", "")}
        mine = folder.glob(f"{TOWER}/tower-*.safetensors") if _is_tuned(folder / TOWER) else ()
        for stale in (*folder.glob("head-*.safetensors"), *mine):
            if stale.name not in kept:
                stale.unlink(missing_ok=True)
        if not tower and _is_tuned(folder / TOWER):
            (folder / TOWER / NOTE_FILE).unlink(missing_ok=True)
            with suppress(OSError):  # something of the user's own lies there too
                (folder / TOWER).rmdir()
        return folder

    def _save_tower(self, folder: Path) -> dict[str, str]:
        """Write the changed tower as a backbone of its own; what the manifest says of it."""
        if self.fitted.tower is None:
            return {}
        from clipwright.backbones.tuned import save_tuned

        if self.backbone is None:
            raise UsageError("a changed tower can't be saved without the backbone that it belongs to.")
        path = save_tuned(folder / TOWER, self.fitted.tower, self.backbone)
        return {"tower": path.name, "tower_digest": self.fitted.tower.digest}

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> Classifier:
        """Read a saved classifier; no code in the folder is run.

        Raises:
            FormatError: foreign, damaged, or newer than this clipwright.
        """
        folder = Path(path)
        saved = _manifest(folder)
        blob = _weights(folder, saved)
        try:
            state = safetensors.torch.load(blob)
            prompt = state.pop(_PROMPT, None)
            head, trace = restore_head(saved["head"], state), FitTrace(**saved["trace"])
            fitted = Fitted(head, tower=_saved_tower(folder, saved), prompt=prompt, trace=trace)
            return cls(
                fitted,
                saved["class_names"],
                backbone=saved["backbone"],
                second=saved.get("second"),
                temperature=saved["temperature"],
                card=saved["card"],
                support_contents=saved["support_contents"],
                device=device,
            )
        except FormatError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError, DataError) as error:
            raise FormatError(f"the classifier in {folder} is damaged ({error}): copy or fit it again.") from error

    def _readme(self) -> str:
        rows = {
            "method": self.card.get("method", "?"),
            "backbone": self.backbone["spec"] if self.backbone else "none: takes ready-made features",
            "classes": len(self.class_names),
            "labels per class": _span(self.card.get("labels_per_class") or [0]),
            "temperature": f"{self.temperature:.4g}",
            "clipwright": __version__,
        }
        table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
        names = "\n".join(f"- {json.dumps(name, ensure_ascii=False)}" for name in self.class_names)
        return (
            "# Image classifier\n\n"
            f"| | |\n|---|---|\n{table}\n\n"
            "Use it with `clipwright predict FOLDER IMAGES...` "
            'or `clipwright.Classifier.load("FOLDER").predict(paths)`.'
            f"\n\n## Classes\n\n{names}\n"
        )


def _is_tuned(folder: Path) -> bool:
    """Whether a folder is one that a changed tower was saved to."""
    try:
        return saved_library(folder) == TUNED
    except FormatError:
        return False


def _plain(described: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A backbone's description as its JSON reads."""
    return None if described is None else dict(json.loads(json.dumps(dict(described))))


def checked(described: Mapping[str, Any], device: str | None) -> BackboneRef:
    """The backbone of a description, refused where its weights or its preprocessing have become others."""
    # The decoder and the dtype may differ: they move features by rounding, not by meaning.
    ref = resolve(described["spec"], device=device)
    here = json.loads(json.dumps(ref.describe()))
    for part, name in (("files", "weights"), ("preprocess", "preprocessing")):
        if here.get(part) != described.get(part):
            raise BackboneError(
                f"this classifier was fitted with other {name} of {ref.spec} than those found here: "
                "point at the original ones, or fit again."
            )
    return ref


def _saved_tower(folder: Path, saved: Mapping[str, Any]) -> TowerUpdate | None:
    if "tower" not in saved:
        return None
    from clipwright.backbones.tuned import load_update

    return load_update(folder / TOWER, str(saved["tower"]), str(saved["tower_digest"]))


def _rgb(image: ImageLike, reader: FileReader) -> Image.Image:
    if isinstance(image, Image.Image):
        try:
            return upright_rgb(image)  # as its file would be read
        except OSError as error:  # opened, but its pixels only now
            raise UnreadableImageError(f"the image is damaged or cut short ({error})") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"an image array must be (H, W, 3) uint8; it is {image.shape} {image.dtype}.")
        return Image.fromarray(image)
    return reader.read(str(image)).image


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        saved = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FormatError(
            f"{folder} is no saved classifier: it has no {_MANIFEST}; give the folder that fit wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder / _MANIFEST} can't be read ({error}): copy or fit it again.") from error
    if not isinstance(saved, dict) or saved.get("kind") != KIND:
        raise FormatError(f"{folder / _MANIFEST} was not written by clipwright: give the folder that fit wrote.")
    if not isinstance(saved.get("format"), int) or saved["format"] > FORMAT:
        raise FormatError(
            f"the classifier in {folder} has format {saved.get('format')}, newer than {FORMAT}: update clipwright."
        )
    return saved


def _weights(folder: Path, saved: dict[str, Any]) -> bytes:
    name = str(saved.get("weights"))
    if Path(name).name != name:
        raise FormatError(f"{folder / _MANIFEST} points outside its folder: don't use it.")
    try:
        blob = (folder / name).read_bytes()
    except OSError as error:
        raise FormatError(f"the classifier in {folder} lacks {name}: copy or fit it again.") from error
    if hashlib.sha256(blob).hexdigest() != saved.get("sha256"):
        raise FormatError(f"{folder / name} is damaged (its hash differs): copy or fit it again.")
    return blob
