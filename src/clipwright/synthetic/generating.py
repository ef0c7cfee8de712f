"""`generate_images`: from class names to a folder of images, with everything a user may say about how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipwright.backbones import resolve
from clipwright.backbones.base import BackboneRef
from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import UsageError
from clipwright.core.gap import Gap
from clipwright.data.dataset import Dataset
from clipwright.data.generated import MADE
from clipwright.data.names import counted, quoted
from clipwright.engine import parse_shard
from clipwright.engine.partition import check_shard
from clipwright.synthetic.class_source import ClassSource
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.filtering import Rule, Verdict, apply_filter
from clipwright.synthetic.generators import ImageGenerator, ImagesEndpoint
from clipwright.synthetic.generators.choosing import choose_generator
from clipwright.synthetic.picture_folder import PictureFolder
from clipwright.synthetic.picture_prompts import read_subjects
from clipwright.synthetic.picturing import Estimate, Outcome, Plan, estimate, fill, lacking, trial
from clipwright.synthetic.real_gap import real_gap
from clipwright.synthetic.sheet import score_sheet
from clipwright.texts import TextBank

GAP_FILE = "gap.json"
PER_CLASS = 64


@dataclass(frozen=True)
class Generation:
    """What a run made.

    Attributes:
        folder: where the images lie; `open_data` reads it.
        summary: JSON: classes, images made, there and blocked, what a filter said, and the gap to real images.
        warnings: what the user should know, one sentence each.
    """

    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def generate_images(
    classes: ClassSource,
    out: str | Path,
    *,
    generator: str | ImageGenerator = "renderer",
    per_class: int = PER_CLASS,
    model: str | None = None,
    revision: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    size: int | None = None,
    save_size: int | None = None,
    negative: str | None = None,
    dtype: str | None = None,
    safety: str | None = None,
    safety_retries: int = 2,
    batch_size: int | None = None,
    endpoint: Endpoint | None = None,
    templates: str | Sequence[str] | None = None,
    styles: str | Path | None = None,
    style: str | None = None,
    texts: TextBank | str | Path | None = None,
    kinds: Sequence[str] | None = None,
    class_file: str | Path | None = None,
    root: Path | None = None,
    shard: str | tuple[int, int] = (1, 1),
    overwrite: bool = False,
    backbone: str | None = None,
    device: str | None = None,
    min_confidence: float | None = None,
    agree: bool = False,
    delete_dropped: bool = False,
    real: str | Path | Dataset | None = None,
    sheet: Path | None = None,
    dry_run: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    quiet: bool = False,
) -> Generation:
    """Make images of classes; a run that was stopped goes on where it was, and makes nothing twice.

    Args:
        classes: a text file with one name per line, names, a data source such as ``"digits"``, or a style in `styles`.
        out: the folder to fill.
        generator: ``renderer``, ``diffusers``, ``endpoint``, or an object that follows `ImageGenerator`.
        per_class: images of each class.
        model: of diffusers: a local folder, or ``OWNER/NAME`` on the hub.
        revision: commit or tag of that repository.
        steps: denoising steps of diffusers.
        guidance: classifier-free guidance of diffusers.
        size: pixels per side that the model makes.
        save_size: pixels per side of a saved image; by default 224, or 32 for the renderer.
        negative: what shall not be seen.
        dtype: fp32, bf16 or fp16, of diffusers.
        safety: ``drop`` or ``off``: what diffusers does with the checkpoint's safety checker.
        safety_retries: how many further seeds are tried for an image that a safety filter blocks.
        batch_size: images that diffusers makes at a time.
        endpoint: the server, for ``endpoint``.
        templates: prompt templates, each with one ``{}``, a file of them, or the name of a set.
        styles: a file of styles (`clipwright.synthetic.styles.read_styles`).
        style: which of them.
        texts: a bank whose descriptions are prompts.
        kinds: which kinds of its texts; ``description`` and ``caption`` by default.
        class_file: class names of a data source that doesn't bring them.
        root: the folder that benchmarks lie in.
        shard: (I, N) or ``"I/N"``: make part I of N; folders merge by copying.
        overwrite: remove what another run made there first.
        backbone: identifier of the model that scores images and measures the gap.
        device: where the models run.
        min_confidence: drop images to whose class the backbone gives less probability.
        agree: drop images that the backbone takes for another class.
        delete_dropped: delete the files of dropped images; their rows stay.
        real: real images that the gap is measured to; unlabeled ones do, and test parts are left out.
        sheet: file for a contact sheet with scores.
        dry_run: count, measure and write nothing.
        seed: all randomness comes from it.
        tell: is given sentences for the user, as they become known.
        quiet: show no progress.

    Raises:
        UsageError, DataError, BackboneError, EndpointError, DiskFullError: one sentence that says what to do; what is
            finished is kept.
    """
    rule = Rule(min_confidence, agree, delete_dropped)
    if backbone is None and (rule.filters or real is not None):
        raise UsageError("filters and the gap to real images need --backbone, such as tiny for the embedded classes.")
    options = {"model": model, "revision": revision, "steps": steps, "guidance": guidance, "size": size}
    options |= {"negative": negative, "dtype": dtype, "safety": safety, "batch_size": batch_size, "device": device}
    maker = choose_generator(generator, {**options, "endpoint": endpoint}) if isinstance(generator, str) else generator
    part = parse_shard(shard) if isinstance(shard, str) else check_shard(shard)
    said: dict[str, Any] = {"templates": templates, "styles": styles, "style": style, "texts": texts, "kinds": kinds}
    subjects = read_subjects(classes, class_file=class_file, root=root, seed=seed, **said)
    maker.check(subjects.class_names)
    plan = Plan(subjects, maker, per_class, seed, save_size or maker.save_size, safety_retries, part)
    path = Path(out).expanduser()
    if dry_run:
        return Generation(path, _forecast(plan, path, overwrite=overwrite))
    ref = None if backbone is None else resolve(backbone, device=device)
    folder = PictureFolder(path, plan.about, shard=part, overwrite=overwrite)
    outcome = fill(plan, folder, tell=tell, quiet=quiet)
    summary, warnings = _summary(plan, outcome), _blocked(plan, outcome)
    if ref is not None and any(row["status"] == MADE for row in folder.rows):
        judge = apply_filter(folder, ref, rule, templates=subjects.templates, quiet=quiet)
        summary["filter"], more = _judged(judge, ref)
        warnings += more
        if real is not None:
            found = real_gap(path, real, ref, seed=seed, quiet=quiet)
            write_json(path / GAP_FILE, {"backbone": ref.spec, **found.as_json()})
            summary["gap"] = found.as_json()
            warnings += _unlike(found)
    if sheet is not None:
        write_bytes(sheet, score_sheet(path))
    if isinstance(maker, ImagesEndpoint):
        summary["calls"], summary["refused_options"] = maker.calls, list(maker.refused)
        if "seed" in maker.refused:
            warnings.append("The server takes no seed: asked again, it would make other images.")
    return Generation(path, summary, tuple(warnings))


def _forecast(plan: Plan, path: Path, *, overwrite: bool) -> dict[str, Any]:
    """What a run would do; an image is made for the time it takes, and nothing is written."""
    batches = plan.batches()
    total = missing = sum(map(len, batches))
    if (path / "generated.json").is_file() and not overwrite:
        folder = PictureFolder(path, plan.about, shard=plan.shard)
        batches, _, missing = lacking(plan, folder, plan.about.settings, adopt=False)
    guess = estimate(plan, missing, total, path)
    guess = Estimate(guess.total, guess.missing, guess.bytes, guess.free, trial(plan, batches, missing))
    return {
        "classes": len(plan.subjects.class_names),
        "images": total,
        "missing": missing,
        "bytes_at_most": guess.bytes,
        "bytes_free": guess.free,
        "seconds": None if guess.seconds is None else round(guess.seconds, 1),
        "prompt": plan.subjects.prompt(0, 0),
        "sentence": guess.sentence(),
    }


def _summary(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    return {
        "classes": len(plan.subjects.class_names),
        "made": outcome.made,
        "there": outcome.there,
        "blocked": outcome.blocked.total(),
        "blocked_by_class": dict(outcome.blocked),
        "seconds": round(outcome.seconds, 3),
        "model": plan.maker.model,
        "settings": plan.about.settings,
    }


def _blocked(plan: Plan, outcome: Outcome) -> list[str]:
    """A sentence where a safety filter blocked images; classes that it blocked altogether are named."""
    if not outcome.blocked:
        return []
    whole = [name for name, count in outcome.blocked.items() if count >= plan.per_class]
    lost = f"; nothing is left of {quoted(whole)}, try another template for them" if whole else ""
    number = counted(outcome.blocked.total(), "image")
    return [f"The safety filter blocked {number} of {quoted(outcome.blocked)}, whatever seed was tried{lost}."]


def _judged(judge: Verdict, ref: BackboneRef) -> tuple[dict[str, Any], list[str]]:
    found = {
        "scored_by": ref.spec,
        "scored": judge.scored,
        "kept": judge.kept,
        "agreement": judge.accuracy,
        "dropped_by_class": dict(judge.dropped),
    }
    warnings = []
    if judge.emptied:
        warnings.append(f"The filter dropped every image of {quoted(judge.emptied)}: lower --min-confidence.")
    return found, warnings


def _unlike(found: Gap) -> list[str]:
    return [] if found.warning is None else [found.warning[0].upper() + found.warning[1:]]
