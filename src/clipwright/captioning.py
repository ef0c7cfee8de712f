"""Captions of images, and of groups that zero-shot classification takes for one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.fitting import Classes, Source, open_data, prepared_data
from clipwright.synthetic.captioning import CaptionRun, caption_images


def caption(
    data: Source,
    out: str | Path,
    *,
    backbone: str | None = None,
    classes: Classes | None = None,
    root: Path | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> CaptionRun:
    """Caption training images, and groups of those that zero-shot classification takes for one class.

    No label is looked at. A run that was stopped goes on where it was.

    Args:
        data: what `open_data` opens.
        out: folder of the captions; `clipwright.synthetic.captions.read_captions` reads it.
        backbone: what images are classified with for groups, and what ``captioner="phrases"`` compares with.
        classes: class names, where the data doesn't bring them.
        root: folder that benchmarks lie in.
        device: where models run.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.
        options: of `clipwright.synthetic.captioning.caption_images`.

    Raises:
        UsageError, DataError, BackboneError, EndpointError, DiskFullError: one sentence that says what to do.
    """
    dataset = open_data(data, classes, root=root)

    def taken_for() -> dict[str, int]:
        inside = dataset.take(dataset.rows("train", "")).without_labels()
        prepared = prepared_data(inside, backbone=backbone, device=device, store=store, quiet=quiet)
        zero_shot = catalogue.make("ZeroShot")
        task = prepared.granting(prepared.task(), zero_shot)
        top = zero_shot.fit(task)(prepared.features).argmax(1)
        return dict(zip(prepared.dataset.ids, top.tolist(), strict=True))

    options |= {"taken_for": taken_for, "taken_by": resolve(backbone or DEFAULT, device=device).spec}
    return caption_images(dataset, out, backbone=backbone, device=device, quiet=quiet, **options)
