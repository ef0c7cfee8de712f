"""``clipwright fit``."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipwright.cli.options import (
    BackboneOption,
    Captions,
    Classes,
    ClassesSubset,
    Config,
    Data,
    Debug,
    Device,
    Generated,
    Json,
    Overwrite,
    Quiet,
    Root,
    Second,
    Seed,
    Texts,
    resolved,
    settings,
    verb_app,
)
from clipwright.core.hashing import digest_json

if TYPE_CHECKING:
    from clipwright import Dataset

app = verb_app()

WORK = "clipwright-work"
"""Folder inside --out where a long fit keeps what it has done so far."""

FREE = ("device", "store")
PRODUCTS = ("classifier.json", "report.html")


def fingerprint(data: Dataset, captions: Path | None = None, files: Iterable[object] = ()) -> str:
    """A hash of all that a fit takes from the data: images, class names, labels, splits, captions, files of options."""
    sha = hashlib.sha256(digest_json([data.digest, data.class_names]).encode())
    for column in (data.labels, data.splits):
        sha.update(column.tobytes())
    for path in sorted(captions.iterdir()) if captions is not None and captions.is_dir() else ():
        sha.update(digest_json([path.name, path.stat().st_size, path.stat().st_mtime_ns]).encode())
    for given in files:
        named = Path(given).expanduser() if isinstance(given, str | Path) and str(given) else None
        for path in () if named is None else (named, named / "classifier.json"):
            if _is_file(path):
                sha.update(digest_json([str(path), path.stat().st_size, path.stat().st_mtime_ns]).encode())
    return sha.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt is longer than any name, say
        return False


@app.command()
def fit(
    ctx: typer.Context,
    data: Data,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CLASSIFIER", help="Folder to write.")],
    root: Root = None,
    classes: Classes = None,
    classes_subset: ClassesSubset = None,
    backbone: BackboneOption = None,
    method: Annotated[
        str, typer.Option("--method", metavar="auto|NAME", help="'clipwright methods' lists them.")
    ] = "auto",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Hyper-parameter; may be repeated.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", min=1, metavar="N", help="Labels per class to use; all when left out.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="Prompt such as 'a photo of a {}.', or a set such as imagenet7; may be repeated.",
        ),
    ] = None,
    texts: Texts = None,
    generated: Generated = None,
    second: Second = None,
    captions: Captions = None,
    views: Annotated[int, typer.Option("--views", min=0, metavar="V", help="Augmented views per labelled image.")] = 0,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Feature store; the cache when left out.")
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a classifier to DATA and write it to a folder.

    What DATA holds decides what can be fitted: class names alone, or a few labelled images per class; generated images
    and captions of unlabeled ones stand beside them.

    \b
    Examples:
      clipwright fit photos/ --backbone openclip:ViT-B-16@openai --out classifier
      clipwright fit unlabeled/ --classes names.txt --out classifier
      clipwright fit benchmark:dtd --root data/ --shots 16 --classes-subset base --out dtd-base
      clipwright fit digits --backbone tiny --shots 4 --method TaskRes --set alpha=0.3 --out digits-4
      clipwright fit digits --backbone tiny --generated posters/ --method CaFo --out digits-generated
    """
    from clipwright import api
    from clipwright.cli.processes import several_processes
    from clipwright.cli.run_folder import RunFolder
    from clipwright.cli.summaries import fit_summary, show_fit, show_problems

    work = out / WORK
    asked: dict[str, Any] = {
        "backbone": backbone,
        "method": method,
        "shots": shots,
        "templates": template[0] if template and len(template) == 1 else template or None,
        "texts": texts,
        "second": second,
        "captions": captions,
        "hyper_parameters": settings(set_),
        "seed": seed,
        "device": device,
        "views": views,
        "store": store,
        "workspace": work,
    }

    def opened_data() -> Dataset:
        return api.open_data(data, classes, root=root, classes_subset=classes_subset, generated=generated)

    with several_processes(device) as ranks:
        if ranks.follows:
            ranks.follow(lambda: api.fit_run(opened_data(), **asked, quiet=True))
            return
        with RunFolder(out, resolved(ctx), overwrite=overwrite, free=FREE, products=PRODUCTS) as run:
            opened = opened_data()
            seen = fingerprint(opened, captions, [texts, *(template or ()), *settings(set_).values()])
            if run.finished and run.finished.get("data") == seen and (out / "classifier.json").is_file():
                run.tell(f"{out} is finished already: nothing to do.", quiet=quiet)
                show_fit(run.finished["summary"], out, as_json=as_json)
                return
            if not run.resumed:
                shutil.rmtree(work, ignore_errors=True)
            done = api.fit_run(opened, **asked, ready=ranks.go, quiet=quiet)  # the others find the features there
            for epoch, loss in enumerate(done.fitted.trace.losses, start=1):
                run.metric("epoch", epoch=epoch, loss=loss)
            show_problems(done.prepared.problems, run, quiet=quiet)
            summary = fit_summary(done)
            for line in summary["notes"]:
                run.tell(f"Note: {line}", quiet=quiet)
            api.fit_report(done, out, command=ctx.obj["command"])
            done.classifier.save(out, overwrite=True)
            shutil.rmtree(work, ignore_errors=True)
            run.finish(data=seen, summary=summary)
            show_fit(summary, out, as_json=as_json)
