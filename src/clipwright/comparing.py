"""Several data sets and backbones, every method on every draw, cell by cell and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clipwright.backbones import DEFAULT
from clipwright.core.errors import ClipwrightError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.fitting import Classes, Source, check_classes, check_use, open_data, prepared_data
from clipwright.methods.base import Method
from clipwright.protocol.auto import configured
from clipwright.protocol.plan import Protocol, Validation, make_plan
from clipwright.protocol.prepare import add_views
from clipwright.protocol.record import CellRecord
from clipwright.protocol.results import Results
from clipwright.protocol.runner import run_plan
from clipwright.protocol.splits import pools
from clipwright.texts import TextBank

Methods = Sequence[str | Method] | Mapping[str, str | Method]
Sources = Source | Sequence[Source]

SHOTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison yields.

    Attributes:
        results: all cells.
        datasets: the data sets by name, from which a page reads its pictures.
    """

    results: Results
    datasets: dict[str, Dataset]


def compare_run(
    data: Sources,
    methods: Methods,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int | None = None,
    backbone: str | Sequence[str] | None = None,
    classes: Classes | None = None,
    root: Path | None = None,
    templates: str | Sequence[str] | None = None,
    validation: Validation = "none",
    texts: TextBank | str | Path | None = None,
    generated: str | Path | None = None,
    second: str | None = None,
    captions: str | Path | None = None,
    protocol: Protocol = "draws",
    seed: int = 0,
    device: str | None = None,
    views: int = 0,
    calibrate: bool = False,
    short: Literal["refuse", "all"] = "refuse",
    store: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
) -> Comparison:
    """Compare as `clipwright.compare` does, and return what a page needs besides; arguments as there."""
    named = configured_methods(methods)
    check_use(named.values(), second=second, captions=captions)
    plan = make_plan(
        named,
        shots,
        draws,
        validation=validation,
        protocol=protocol,
        seed=seed,
        calibrate=calibrate,
        short=short,
    )
    opened = _opened(data, classes, root, generated)
    made_of: dict[str, Any] = {"templates": templates, "texts": texts, "second": second, "captions": captions}
    record = CellRecord(out) if out is not None else None
    parts = []
    for dataset, spec in _pairs(opened, backbone):
        prepared = prepared_data(dataset, backbone=spec, device=device, store=store, quiet=quiet, **made_of)
        if views:
            roles = pools(prepared.dataset)
            rows = np.concatenate([roles.train, roles.generated])
            prepared = add_views(prepared, rows, views, seed=seed, quiet=quiet)
        parts.append(run_plan(prepared, plan, record=record, quiet=quiet, on_cell=on_cell))
        if out is not None:
            Results.joined(parts).save(out)
    return Comparison(Results.joined(parts), {dataset.name: dataset for dataset in opened})


def configured_methods(methods: Methods) -> dict[str, Method]:
    """Methods by the name that results call them.

    Raises:
        UsageError: no method, no such method, or two of one name.
    """
    if isinstance(methods, str):
        raise UsageError(f"methods must be a list: give [{methods!r}].")
    if isinstance(methods, Mapping):
        return {name: configured(m) if isinstance(m, str) else m for name, m in methods.items()}
    made = [configured(m) if isinstance(m, str) else m for m in methods]
    named = {m.title: m for m in made}
    if len(named) < len(made):
        raise UsageError("two configurations of one method need names: give a mapping of names to methods.")
    return named


def _opened(data: Sources, classes: Classes | None, root: Path | None, generated: str | Path | None) -> list[Dataset]:
    sources: list[Source] = [data] if isinstance(data, str | Path | Dataset) else list(data)
    if not sources:
        raise UsageError("there is nothing to compare on: name at least one data set.")
    opened = [open_data(source, classes, root=root, generated=generated) for source in sources]
    for dataset in opened:
        check_classes(dataset)
    names = [dataset.name for dataset in opened]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two data sets are called {name}: rename one of their folders or files.")
    return opened


def _pairs(opened: Sequence[Dataset], backbone: str | Sequence[str] | None) -> Iterator[tuple[Dataset, str | None]]:
    """Each data set with each backbone; a bundle brings its own features."""
    specs = [backbone] if isinstance(backbone, str) else list(backbone or ())
    if specs and all(dataset.bundle is not None for dataset in opened):
        raise UsageError("feature bundles bring their own features: leave the backbone out.")
    if len(set(specs)) < len(specs):
        raise UsageError("a backbone is named twice: name each once.")
    for dataset in opened:
        if dataset.bundle is not None:
            yield dataset, None
        else:
            for spec in specs or [DEFAULT]:
                yield dataset, spec


def reopened(folders: Sequence[Path]) -> dict[str, Dataset]:
    """The data sets of finished runs by name, where they are still to be had; pages read pictures from them.

    Args:
        folders: what ``clipwright compare`` or ``demo`` wrote.
    """
    found: dict[str, Dataset] = {}
    for folder in folders:
        config = _config(folder)
        options = {"classes": config.get("classes"), "root": config.get("root")}
        for source in config.get("data") or (["digits"] if config.get("verb") == "demo" else []):
            with suppress(ClipwrightError, OSError):
                dataset = open_data(source, **options)
                found.setdefault(dataset.name, dataset)
    return found


def _config(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("data", []), list) else {}
