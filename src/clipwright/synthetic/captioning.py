"""`caption_images`: from images without labels to captions of them and of groups of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from clipwright.backbones import DEFAULT, resolve
from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.progress import progress
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.data.names import counted, quoted
from clipwright.engine import parse_shard
from clipwright.engine.partition import check_shard
from clipwright.synthetic.caption_groups import N_IMAGES, PER_CLASS, Group, draw_groups, read_groups, write_groups
from clipwright.synthetic.caption_prompts import read_prompts
from clipwright.synthetic.caption_store import CaptionFolder, one_line
from clipwright.synthetic.caption_work import Files, Work, rows_of
from clipwright.synthetic.captioners import Captioner, choose_captioner
from clipwright.synthetic.captions import Captions, Flag, is_captions, read_captions, read_ids, read_rows
from clipwright.synthetic.collage import LONGEST, THUMBNAIL, View, ViewName
from clipwright.synthetic.endpoint import Endpoint

TakenFor = Callable[[], Mapping[str, int]]

_LISTED = 100  # missing images that a summary names
_TOKENS = {"thumbnail": 576, "anyres": 2900}  # of a picture, in LLaVA 1.6
_ANSWERED = 30  # tokens of a usual caption


@dataclass(frozen=True)
class CaptionRun:
    """What a run made.

    Attributes:
        folder: where the captions lie; `read_captions` reads it.
        captions: all that are there, or None after a dry run.
        summary: JSON: what was wanted, there, made and missing, and what it cost.
        warnings: what the user should know, one sentence each.
    """

    folder: Path
    captions: Captions | None
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def caption_images(
    data: str | Path | Dataset,
    out: str | Path,
    *,
    captioner: str | Captioner = "phrases",
    model: str | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    max_tokens: int | None = None,
    endpoint: Endpoint | None = None,
    backbone: str | None = None,
    device: str | None = None,
    classes: str | Path | Sequence[str] | None = None,
    root: Path | None = None,
    kind: str | None = None,
    prompt: str | Path | None = None,
    group_prompt: str | Path | None = None,
    view: ViewName = "thumbnail",
    size: int | None = None,
    images: bool = True,
    groups: int | Literal["all"] = PER_CLASS,
    n_images: int = N_IMAGES,
    taken_for: TakenFor | None = None,
    taken_by: str = "",
    shard: str | tuple[int, int] = (1, 1),
    overwrite: bool = False,
    dry_run: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    quiet: bool = False,
) -> CaptionRun:
    """Caption the training images of a data set, and groups of those that are taken for one class (LatteCLIP).

    A run that was stopped goes on where it was and asks nothing twice. Images of a validation or test split are left
    out, and no label is looked at.

    Args:
        data: images, or what `open_data` opens.
        out: the folder to fill.
        captioner: ``phrases``, ``transformers``, ``endpoint``, or an object that follows `Captioner`.
        model: of transformers: a local folder, or ``OWNER/NAME`` on the hub.
        revision: commit or tag of that repository.
        dtype: fp32, bf16, fp16, 4bit or 8bit, of transformers.
        batch_size: captions that transformers writes at a time.
        max_tokens: new tokens of a caption; 77 when left out.
        endpoint: the server, for ``endpoint``.
        backbone: identifier of the model behind ``phrases``.
        device: where a local model runs.
        classes: class names, where the data doesn't bring them.
        root: the folder that benchmarks lie in.
        kind: what kind of data they are (`clipwright.synthetic.caption_prompts.kinds`); by the data's name when left
            out.
        prompt: what to ask about an image in place of the kind's own: a text, or a file that holds one.
        group_prompt: what to ask about a group.
        view: ``thumbnail`` or ``anyres``.
        size: pixels per side of the thumbnail, or of the longest side of other pictures at most; the captioner's own
            when left out.
        images: whether to caption single images.
        groups: groups of a class, at most as many as it has images; ``"all"`` for as many as that, 0 for none.
        n_images: images of a group.
        taken_for: gives the class index of each image by id, such as zero-shot top-1; called only where it is needed.
        taken_by: what it comes from, so that other groups are drawn where that changes.
        shard: (I, N) or ``"I/N"``: do part I of N; folders merge by copying.
        overwrite: remove what another run wrote there first.
        dry_run: count, send and write nothing.
        seed: which images form groups.
        tell: is given sentences for the user, as they become known.
        quiet: show no progress.

    Raises:
        UsageError, DataError, BackboneError, EndpointError, DiskFullError: one sentence that says what to do; what is
            finished is kept.
    """
    dataset = data if isinstance(data, Dataset) else open_data(data, classes, root=root)
    files = _training(dataset)
    if isinstance(captioner, str):
        options = {"model": model, "revision": revision, "dtype": dtype, "batch_size": batch_size}
        captioner = choose_captioner(
            captioner,
            {**options, "max_tokens": max_tokens, "endpoint": endpoint},
            backbone=lambda: resolve(backbone or DEFAULT, device=device),
            class_names=dataset.class_names,
            view=view,
            device=device,
        )
    part = parse_shard(shard) if isinstance(shard, str) else check_shard(shard)
    prompts = read_prompts(dataset.name, kind=kind, image=prompt, group=group_prompt)
    usual = LONGEST if view != "thumbnail" else THUMBNAIL if dry_run else captioner.side  # a side may need the model
    look = View(view, size or usual)
    per_class = None if groups == "all" else groups
    if n_images < 1 or (per_class is not None and per_class < 0):
        raise UsageError("--groups must be all or at least 0, --n-images positive.")
    path = Path(out).expanduser()
    if dry_run:
        work = Work(files, captioner, look, prompts, dataset.class_names, {}, (), part, images)
        return CaptionRun(path, None, _forecast(work, path, per_class, endpoint))
    drawing = {"seed": seed, "n_images": n_images, "per_class": per_class, "taken_by": taken_by}
    drawing["images"] = digest_json(sorted(files.ids))[:16]  # others may form groups when images are added
    named = images and captioner.asks and prompts.names_classes
    known = None if overwrite else read_groups(path)
    taken, drawn = _groups(files.ids, dataset, drawing, known, taken_for, named=named)
    work = Work(files, captioner, look, prompts, dataset.class_names, taken, drawn or (), part, images)
    folder = CaptionFolder(path, dataset.class_names, work.settings, shard=part, overwrite=overwrite)
    if drawn is not None and known != (drawn, drawing):
        write_groups(path, drawn, drawing)
    folder.want(files.ids if images else read_ids(path))
    made, there, seconds = fill(work, folder, tell=tell, quiet=quiet)
    folder.compact()
    captions = read_captions(path)
    return CaptionRun(path, captions, _summary(work, captions, made, there, seconds), tuple(_warnings(work, captions)))


def fill(work: Work, folder: CaptionFolder, *, tell: Callable[[str], None], quiet: bool) -> tuple[int, int, float]:
    """Write the captions that a folder lacks; each is on disk before it counts.

    Returns:
        captions made now, captions that were there, seconds.

    Raises:
        BackboneError, EndpointError, DiskFullError: what is finished is kept.
    """
    units = work.lacking(folder, quiet=quiet)
    wanted, there = len(work.my_images) + len(work.my_groups), work.there(folder)
    tell(f"{counted(len(units), 'caption')} to write, of {counted(wanted, 'image and group', 'images and groups')}.")
    if not units:
        return 0, there, 0.0
    work.captioner.prepare()
    start, made = time.monotonic(), 0
    jobs = [unit.job for unit in units]
    label = f"caption {work.files.dataset.name}"
    with progress(label, len(units), "captions", quiet=quiet, meter=work.captioner.meter) as advance:
        finished = work.captioner.caption(jobs)
        try:
            for said in finished:
                folder.keep(rows_of(units, said, one_line))
                failed = {units[number].key: one.problem for number, one in said if one.problem}
                folder.note_images(_unreadable(folder, work, failed))
                made += len(said) - len(failed)
                advance(len(said))
        finally:
            finished.close()  # requests in flight are waited for
    return made, there, time.monotonic() - start


def _unreadable(folder: CaptionFolder, work: Work, failed: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What to write down of images whose captions failed, by key; copies of an image share one."""
    for name in work.my_images if failed else ():
        row = folder.rows.images.get(name, {})
        if (key := str(row.get("key"))) in failed:
            yield {**{k: v for k, v in row.items() if k not in {"event", "date"}}, "problem": failed[key]}


def _training(dataset: Dataset) -> Files:
    """The rows outside validation and test splits.

    Raises:
        DataError: there are none, or the data has no images.
    """
    if dataset.reader is None:
        raise DataError(f"{dataset.name} is a feature bundle without images, which nothing can caption.")
    rows = dataset.rows("train", "")
    if not len(rows):
        raise DataError(
            f"{dataset.name} has no image outside its validation and test splits: there is none to caption."
        )
    return Files(dataset.take(rows).without_labels(), dataset.reader)


def _groups(
    ids: Sequence[str],
    dataset: Dataset,
    drawing: Mapping[str, Any],
    known: tuple[tuple[Group, ...], dict[str, Any]] | None,
    taken_for: TakenFor | None,
    *,
    named: bool,
) -> tuple[Mapping[str, int], tuple[Group, ...] | None]:
    """What images are taken for, where that is needed, and the groups: those of an earlier run where they still fit."""
    there, wants = set(ids), drawing["per_class"] != 0
    fits = known is not None and known[1] == drawing and all(there.issuperset(group.members) for group in known[0])
    old = known[0] if known is not None and fits and wants else None
    if not named and (old is not None or not wants):
        return {}, old
    if not dataset.class_names:
        raise DataError(f"{dataset.name} has no class names: give --classes, or leave groups out with --groups 0.")
    if taken_for is None:
        raise UsageError("groups, and prompts with {class}, need what each image is taken for: give taken_for.")
    taken = {name: number for name, number in taken_for().items() if name in there}
    if old is not None or not wants:
        return taken, old
    options = {name: drawing[name] for name in ("n_images", "per_class", "seed")}
    return taken, draw_groups(taken, dataset.class_names, **options)


def _forecast(work: Work, path: Path, per_class: int | None, endpoint: Endpoint | None) -> dict[str, Any]:
    """What a run would do, at most; no image is looked at and nothing is written."""
    images, captioner = len(work.files.ids), work.captioner
    groups = images if per_class is None else min(per_class * len(work.class_names), images)
    done = 0
    if is_captions(path):
        rows = read_rows(path)
        drawn = (read_groups(path) or ((), {}))[0] if groups else ()
        mine = replace(work, groups=tuple(g for g in drawn if per_class is None or g.number < per_class))
        keys = [str(rows.images.get(name, {}).get("key")) for name in mine.my_images]
        keys += [rows.key_of(group) for group in mine.my_groups]
        done = sum(key in rows.captions for key in keys)
    wanted = (images if work.images else 0) + groups
    left = max(-(-wanted // work.shard[1]) - done, 0)
    found: dict[str, Any] = {"captioner": captioner.name, "model": captioner.model}
    found |= {"images": images if work.images else 0, "groups_at_most": groups, "there": done, "captions_at_most": left}
    if captioner.asks:
        found |= {"prompt": work.prompts.image, "group_prompt": work.prompts.group}
        found |= {"view": work.view.name, "side": work.view.side}
        found["prompt_tokens"] = left * (_TOKENS[work.view.name] + len(work.prompts.image) // 4)
        found["completion_tokens"] = left * _ANSWERED
        if endpoint is not None and endpoint.prices is not None:
            found["cost"] = round(endpoint.prices.cost(found["prompt_tokens"], found["completion_tokens"]), 6)
    return found


def _summary(work: Work, captions: Captions, made: int, there: int, seconds: float) -> dict[str, Any]:
    missing = captions.missing
    return {
        "captioner": work.captioner.name,
        "model": work.captioner.model,
        "images": len(captions.ids),
        "groups": len(captions.groups),
        "made": made,
        "there": there,
        "missing_images": len(missing),
        "missing": [{"id": name, "reason": captions.problems.get(name, "")} for name in missing[:_LISTED]],
        "missing_groups": [group.id for group in captions.missing_groups],
        "classes_without_groups": captions.classes_without_groups if captions.groups else [],
        "empty": captions.flagged("empty")[:_LISTED],
        "truncated": captions.flagged("truncated")[:_LISTED],
        "seconds": round(seconds, 3),
        "per_second": round(made / seconds, 2) if seconds else None,
        "usage": work.captioner.usage(),
    }


def _warnings(work: Work, captions: Captions) -> list[str]:
    """What is wrong with the captions, one sentence each."""
    found = []
    if captions.problems:
        first = next(iter(captions.problems.items()))
        found.append(f"{counted(len(captions.problems), 'image')} can't be captioned: {first[0]!r} ({first[1]}).")
    if rest := len(captions.missing) - len(captions.problems):
        found.append(f"{counted(rest, 'image has', 'images have')} no caption yet: other parts are still to come.")
    flags: tuple[Flag, ...] = ("empty", "truncated")
    for flag in flags:
        flagged = captions.flagged(flag)
        if flagged:
            found.append(f"{counted(len(flagged), f'caption is {flag}', f'captions are {flag}')}: {quoted(flagged)}.")
    if captions.groups and (without := captions.classes_without_groups):
        why = "no image is taken for them, or their groups could not be captioned"
        why += "" if work.shard == (1, 1) else ", or not yet"
        found.append(
            f"{counted(len(without), 'class has', 'classes have')} no group caption ({quoted(without)}): {why}."
        )
    return found
