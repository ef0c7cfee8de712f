"""The benchmarks that can be named, as ``benchmarks.toml`` describes them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from clipwright.core.errors import UsageError
from clipwright.data.benchmarks.edits import Edits
from clipwright.data.dataset import Split

PREFIX = "benchmark:"

Reader = Literal["split", "variants", "synsets", "numbers"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its names, where its files lie, and what is fixed about it.

    Attributes:
        name: what ``benchmark:NAME`` takes.
        title: what CoOp's code calls it.
        aliases: what else the published systems call it.
        reader: how classes and splits are found.
        classes: how many there are.
        images: how many there are in train, val and test.
        folders: the folder below the root, the expected one first.
        within: folders of images inside that, the expected one first.
        template: CoOp's single prompt template.
        subject: what an image shows, for captions.
        medium: what kind of image it is, for captions.
        split: names of the split file, the expected one first; empty where there is none.
        parts: folders of images by the split they are; empty where all images are test images.
        edits: how class names were made from the data set's own.
        index: file of this package that lists the classes among ImageNet's, or empty.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    reader: Reader
    classes: int
    images: tuple[int, int, int]
    folders: tuple[str, ...]
    within: tuple[str, ...]
    template: str
    subject: str
    medium: str
    split: tuple[str, ...] = ()
    parts: Mapping[str, Split] = field(default_factory=dict)
    edits: Edits = field(default_factory=Edits)
    index: str = ""

    @property
    def described(self) -> str:
        """What messages call it."""
        return PREFIX + self.name


@cache
def benchmarks() -> tuple[Benchmark, ...]:
    """All benchmarks, the eleven of CoOp's protocol first, then those that test a shift of domain."""
    text = (files(__package__) / "benchmarks.toml").read_text(encoding="utf-8")
    return tuple(_benchmark(name, entry) for name, entry in tomllib.loads(text).items())


def _benchmark(name: str, entry: dict[str, Any]) -> Benchmark:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    caption, edits = values.pop("caption"), values.pop("edits", {})
    return Benchmark(name=name, **caption, **values, edits=Edits(**edits))


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of this name, with or without ``benchmark:`` before it, or of one of its other names.

    Raises:
        UsageError: there is none.
    """
    known = {key(n): b for b in benchmarks() for n in (b.name, b.title, *b.aliases)}
    wanted = key(name.removeprefix(PREFIX))
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f"did you mean {known[near[0]].described}?" if near else "'clipwright datasets' lists them."
    names = ", ".join(b.name for b in benchmarks())
    raise UsageError(f"there is no benchmark {name.removeprefix(PREFIX)!r} among {names}: {hint}")


def key(name: str) -> str:
    """What the spellings of one name have in common."""
    return "".join(c for c in name.lower() if c.isalnum())
