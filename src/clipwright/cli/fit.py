"""``clipwright fit``."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipwright.cli.options import (
    BackboneOption,
    Classes,
    ClassesSubset,
    Config,
    Data,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Root,
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

WORK = "work"
"""Folder inside --out where a long fit keeps what it has done so far."""


def fingerprint(data: Dataset) -> str:
    """A hash of all that a fit takes from the data: images, class names, labels, splits."""
    sha = hashlib.sha256(digest_json([data.digest, data.class_names]).encode())
    for column in (data.labels, data.splits):
        sha.update(column.tobytes())
    return sha.hexdigest()


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

    What DATA holds decides what can be fitted: class names alone, or a few labelled images per class.

    \b
    Examples:
      clipwright fit photos/ --backbone openclip:ViT-B-16@openai --out classifier
      clipwright fit unlabeled/ --classes names.txt --out classifier
      clipwright fit benchmark:dtd --root data/ --shots 16 --classes-subset base --out dtd-base
      clipwright fit digits --backbone tiny --shots 4 --method TaskRes --set alpha=0.3 --out digits-4
    """
    from clipwright import api
    from clipwright.cli.run_folder import RunFolder
    from clipwright.cli.summaries import fit_summary, show_fit, show_problems

    with RunFolder(
        out, resolved(ctx), overwrite=overwrite, free=("device", "store"), products=("classifier.json", "report.html")
    ) as run:
        opened = api.open_data(data, classes, root=root, classes_subset=classes_subset)
        seen = fingerprint(opened)
        if run.finished and run.finished.get("data") == seen and (out / "classifier.json").is_file():
            run.tell(f"{out} is finished already: nothing to do.", quiet=quiet)
            show_fit(run.finished["summary"], out, as_json=as_json)
            return
        work = out / WORK
        if not run.resumed:
            shutil.rmtree(work, ignore_errors=True)
        done = api.fit_run(
            opened,
            backbone=backbone,
            method=method,
            shots=shots,
            templates=template[0] if template and len(template) == 1 else template or None,
            texts=texts,
            hyper_parameters=settings(set_),
            seed=seed,
            device=device,
            views=views,
            store=store,
            workspace=work,
            quiet=quiet,
        )
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
