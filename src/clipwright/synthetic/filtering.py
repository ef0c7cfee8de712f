"""Which generated images show what they should: scores of a backbone, kept in the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import UsageError
from clipwright.data.generated import open_generated
from clipwright.data.images import FileReader
from clipwright.features import extract
from clipwright.synthetic.picture_folder import PictureFolder
from clipwright.texts import text_features


@dataclass(frozen=True)
class Rule:
    """Which images are kept.

    Attributes:
        min_confidence: probability in [0, 1] that the backbone must give to the class an image was made for, or None.
        agree: whether that class must be the one that it finds most likely.
        delete: whether the files of dropped images are deleted; their rows stay.

    Raises:
        UsageError: `min_confidence` is no probability, or there is nothing to delete by.
    """

    min_confidence: float | None = None
    agree: bool = False
    delete: bool = False

    def __post_init__(self) -> None:
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min-confidence must lie in [0, 1]; it is {self.min_confidence}.")
        if self.delete and not self.filters:
            raise UsageError("--delete-dropped needs a filter: give --min-confidence or --agree.")

    @property
    def filters(self) -> bool:
        """Whether anything can be dropped."""
        return self.agree or self.min_confidence is not None


@dataclass(frozen=True)
class Verdict:
    """What came of a filter.

    Attributes:
        scored: images that got a score.
        kept: how many of them are kept.
        accuracy: share whose most likely class is the one they were made for.
        dropped: how many were dropped, by class; classes without any are left out.
        emptied: classes of which nothing is left.
    """

    scored: int
    kept: int
    accuracy: float
    dropped: Counter[str] = field(default_factory=Counter)
    emptied: tuple[str, ...] = ()


def confidences(features: torch.Tensor, classifier: torch.Tensor, logit_scale: float) -> torch.Tensor:
    """(n, C) zero-shot probabilities.

    Args:
        features: (n, D) raw image features.
        classifier: (C, D) text classifier.
        logit_scale: what multiplies cosines.
    """
    x = torch.nn.functional.normalize(features.float(), dim=1)
    w = torch.nn.functional.normalize(classifier.float(), dim=1)
    return torch.softmax(logit_scale * (x @ w.T), dim=1)


def apply_filter(
    folder: PictureFolder,
    ref: BackboneRef,
    rule: Rule,
    *,
    templates: Sequence[str] | None = None,
    quiet: bool = False,
) -> Verdict:
    """Score every image, and record which are kept; `open_data` leaves the others out.

    Scores are those of zero-shot classification among all classes of the folder. A later run with another rule judges
    all images again.

    Args:
        folder: of generated images.
        ref: the backbone.
        rule: what is kept.
        templates: prompt templates; the default when left out.
        quiet: show no progress.

    Raises:
        DataError: there are no images.
        BackboneError: the model can't be loaded.
    """
    root: Path = folder.root.absolute()
    dataset = open_generated(root, None, reader=FileReader(root), name=root.name, dropped=True)
    store = extract(dataset, ref, quiet=quiet)
    found, rows = store.features_for(dataset, views=False, pre_projection=False)
    text = text_features(ref, dataset.class_names, templates).classifier("mean_unit_renorm")
    probabilities = confidences(found.x, text, store.logit_scale)
    labels = torch.from_numpy(dataset.labels[rows])
    own = probabilities.gather(1, labels[:, None])[:, 0]
    predicted = probabilities.argmax(1)
    agrees = predicted == labels
    keep = torch.ones_like(agrees) if rule.min_confidence is None else own >= rule.min_confidence
    keep = keep & agrees if rule.agree else keep
    folder.reread()
    content = {row["path"]: row["sha256"] for row in folder.rows if "sha256" in row}
    ids = dataset.ids
    scored = [
        {
            "path": ids[row],
            "sha256": content[ids[row]],
            "scored_by": ref.spec,
            "confidence": round(float(p), 6),
            "predicted": int(c),
            "kept": bool(k),
        }
        for row, p, c, k in zip(rows.tolist(), own, predicted, keep, strict=True)
    ]
    folder.score(scored)
    if rule.delete:
        _delete(folder, [row["path"] for row in scored if not row["kept"]])
    folder.compact()
    names = [dataset.class_names[c] for c in labels.tolist()]
    left = Counter(name for name, kept in zip(names, keep.tolist(), strict=True) if kept)
    return Verdict(
        len(scored),
        int(keep.sum()),
        float(agrees.float().mean()) if len(agrees) else 0.0,
        Counter(name for name, kept in zip(names, keep.tolist(), strict=True) if not kept),
        tuple(name for name in dataset.class_names if name in set(names) and not left[name]),
    )


def _delete(folder: PictureFolder, paths: Sequence[str]) -> None:
    """Record first, then delete: a run that is killed between leaves a file too many, never an image made again."""
    rows = {row["path"]: row for row in folder.rows}
    folder.score({"path": path, "sha256": rows[path]["sha256"], "deleted": True} for path in paths)
    for path in paths:
        (folder.root / path).unlink(missing_ok=True)
