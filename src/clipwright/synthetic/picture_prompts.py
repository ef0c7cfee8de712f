"""What a text-to-image model is asked for: prompts of each class, from templates, a style, or a bank of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipwright.core.errors import DataError, UsageError
from clipwright.core.rng import generator
from clipwright.data.names import quoted
from clipwright.synthetic.class_source import ClassSource, read_class_source
from clipwright.synthetic.styles import Style, read_styles, style_of
from clipwright.texts import DEFAULT_TEMPLATES, KINDS, TextBank, clean_names, open_bank, read_templates, say

TEXT_KINDS = ("description", "caption")
"""Kinds of a bank's texts that are whole prompts by themselves."""

_NOT_SHOWN = frozenset({"template", "one-vs-one", "analogue"})  # what tells classes apart in words is no picture


@dataclass(frozen=True)
class Subjects:
    """The classes, and what prompts say of each.

    Attributes:
        class_names: C unique names.
        prompt_names: C names as prompts say them; may repeat.
        templates: what prompts are made from.
        texts: C lists of whole prompts from a bank, in the order in which they are used; empty where there are none.
    """

    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...]
    templates: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...] = ()

    def prompt(self, class_index: int, index: int) -> str:
        """The prompt of a class's image of that number: its texts in turn, or else the templates in turn."""
        if self.texts and (own := self.texts[class_index]):
            return own[index % len(own)]
        template = self.templates[index % len(self.templates)]
        return template.replace("{}", self.prompt_names[class_index])


def read_subjects(
    classes: ClassSource,
    *,
    class_file: str | Path | None = None,
    root: Path | None = None,
    templates: str | Sequence[str] | None = None,
    styles: str | Path | None = None,
    style: str | None = None,
    texts: TextBank | str | Path | None = None,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
) -> Subjects:
    """Classes of a source, and how they are said.

    Args:
        classes: as `read_class_source` takes them; or the name of a style in `styles` that lists class names.
        class_file: class names of a data source that doesn't bring them.
        root: the folder that benchmarks lie in.
        templates: prompt templates; by default the style's, else the data's first, else ``a photo of a {}.``.
        styles: a file of styles.
        style: which of them; by default the one called like `classes`, or the only one.
        texts: a bank whose texts are prompts; classes it says nothing of have the templates.
        kinds: which kinds of its texts; ``description`` and ``caption`` by default. Bare phrases are put into
            sentences, as for a text tower.
        seed: of the order in which a class's texts are used.

    Raises:
        UsageError, DataError: one sentence that says what to do.
    """
    named = None if styles is None else _style(classes, Path(styles).expanduser(), style)
    if named is not None and named.class_names and style is None and isinstance(classes, str | Path):
        found = Subjects(named.unique_names, named.class_names, named.templates)
    else:
        names, dataset = read_class_source(classes, classes=class_file, root=root)
        spoken = (dataset.prompt_names if dataset is not None else ()) or names
        own = dataset.templates[:1] if dataset is not None else ()
        if named is not None and named.class_names:
            if len(named.class_names) != len(names):
                raise DataError(
                    f"the style has {len(named.class_names)} class names but there are {len(names)} classes: "
                    "choose another --style."
                )
            spoken = named.class_names
        found = Subjects(names, spoken, named.templates if named is not None else own or DEFAULT_TEMPLATES)
    spoken = tuple(clean_names([name])[0] for name in found.prompt_names)
    found = replace(found, prompt_names=spoken)
    if templates is not None:
        found = replace(found, templates=read_templates(templates))
    return found if texts is None else replace(found, texts=_texts(texts, found.class_names, kinds, seed))


def _style(classes: ClassSource, path: Path, style: str | None) -> Style:
    styles = read_styles(path)
    if style is not None:
        return style_of(styles, style, path.name)
    name = str(classes) if isinstance(classes, str | Path) else ""
    if name not in styles and len(styles) == 1:
        return replace(next(iter(styles.values())), class_names=(), folders=())
    return style_of(styles, name, path.name)


def _texts(
    texts: TextBank | str | Path, class_names: Sequence[str], kinds: Sequence[str] | None, seed: int
) -> tuple[tuple[str, ...], ...]:
    bank = texts if isinstance(texts, TextBank) else open_bank(texts, class_names=class_names)
    wanted = tuple(TEXT_KINDS if kinds is None else kinds)
    if strange := [kind for kind in wanted if kind not in KINDS or kind in _NOT_SHOWN]:
        shown = ", ".join(kind for kind in KINDS if kind not in _NOT_SHOWN)
        raise UsageError(f"texts of kind {strange[0]!r} make no prompts: choose --kinds among {shown}.")
    fitting = bank.for_classes(class_names, partial=True)
    said: list[list[str]] = [[] for _ in class_names]
    for text in say(fitting.select(kinds=wanted), kinds=wanted):
        said[text.class_index].append(text.text)
    if not any(said):
        there = ", ".join(f"{count} {kind}" for kind, count in fitting.counts.items()) or "nothing"
        raise DataError(
            f"the bank has no {' or '.join(wanted)} of {quoted(class_names)} (it has {there}): try --kinds."
        )
    shuffled = []
    for name, own in zip(class_names, said, strict=True):
        unique = list(dict.fromkeys(own))
        order = generator(seed, "prompts", name).permutation(len(unique))
        shuffled.append(tuple(unique[i] for i in order))
    return tuple(shuffled)
