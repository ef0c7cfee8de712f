"""The gap between generated images and a data set of real ones, measured in a backbone's space."""

from __future__ import annotations

from pathlib import Path

from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import DataError
from clipwright.core.gap import Gap, gap
from clipwright.core.spelling import match_key
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.features import extract


def real_gap(
    generated: str | Path | Dataset, real: str | Path | Dataset, ref: BackboneRef, *, seed: int = 0, quiet: bool = False
) -> Gap:
    """Extract both and compare them; features of images that were seen before are read from the cache.

    The test part of the real images is left out. Their labels are used, where there are some and the names of all
    their classes are among the generated ones, to tell distances by class, and for nothing else.

    Args:
        generated: a folder that `generate` wrote.
        real: what `open_data` opens; unlabeled images do.
        ref: the backbone.
        seed: of folds and samples.
        quiet: show no progress.

    Raises:
        DataError: no images, or fewer than two of a kind.
        BackboneError: the model can't be loaded.
    """
    made = generated if isinstance(generated, Dataset) else open_data(generated)
    # A folder of images without labels brings no class names; those of the generated images do for reading it.
    known = real if isinstance(real, Dataset) else _open(real, made.class_names)
    known = known.take(known.rows("", "train", "val"))
    x, _ = extract(made, ref, quiet=quiet).features_for(made, views=False, pre_projection=False)
    y, rows = extract(known, ref, quiet=quiet).features_for(known, views=False, pre_projection=False)
    place = {match_key(name): number for number, name in enumerate(made.class_names)}
    order = [place.get(match_key(name), -1) for name in known.class_names]
    labels = [order[label] if label >= 0 else -1 for label in known.labels[rows].tolist()]
    comparable = -1 not in order
    return gap(
        x.x.numpy(),
        y.x.numpy(),
        generated_labels=None if x.y is None else x.y.numpy(),
        real_labels=labels if comparable else None,
        class_names=made.class_names,
        seed=seed,
    )


def _open(real: str | Path, class_names: tuple[str, ...]) -> Dataset:
    try:
        return open_data(real)
    except DataError:
        return open_data(real, list(class_names), labels=False)
