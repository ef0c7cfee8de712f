"""The bank of texts: what is said of each class, of which kind each text is, and where it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from clipwright.core.errors import DataError, UsageError
from clipwright.core.spelling import match_key
from clipwright.task import check_class_names
from clipwright.texts.phrases import MOST_CHARACTERS, Sieve, notes, says_none, tidy
from clipwright.texts.phrasing import Phrasing
from clipwright.texts.phrasings import PHRASINGS
from clipwright.texts.templates import check_template

if TYPE_CHECKING:
    from clipwright.backbones.base import Backbone, BackboneRef
    from clipwright.task import TextFeatures
    from clipwright.texts.saying import Underscores

NAME, ATTRIBUTE, ANALOGUE, SYNONYM = "name", "attribute", "analogue", "synonym"
ONE_VS_ONE, DESCRIPTION, TEMPLATE, CAPTION = "one-vs-one", "description", "template", "caption"

KINDS = (NAME, ATTRIBUTE, ANALOGUE, SYNONYM, ONE_VS_ONE, DESCRIPTION, TEMPLATE, CAPTION)
"""What a text may be. Names, synonyms, attributes, analogues and one-vs-one rows are bare phrases, which a `Phrasing`
puts into sentences; descriptions and captions are whole texts; templates have one ``{}`` for the class name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text about one class.

    Attributes:
        class_name: the class; empty for a template that every class shares.
        kind: one of `KINDS`.
        text: the phrase, sentence or template.
        rival: of a one-vs-one row, the class that lacks what the text says; else empty.
        source: where it came from, such as ``WordNet 3.0`` or a file's name.
        model: what wrote it, empty where nobody said.
        date: when, as ``2026-11-25``.
        prompt_hash: digest of what the model was asked.
    """

    class_name: str
    kind: str
    text: str
    rival: str = ""
    source: str = ""
    model: str = ""
    date: str = ""
    prompt_hash: str = ""


@dataclass(frozen=True)
class TextBank:
    """Texts of a list of classes, in order, each with its kind and its origin.

    Attributes:
        class_names: C unique names.
        rows: the texts.
        phrasing: name of the wording that bare phrases get unless another is asked for, one of `PHRASINGS`.
        dropped: how many texts were left out or cut while the bank was made, by reason; not written to files.

    Raises:
        DataError: a row that breaks a rule: an unknown class or kind, an empty text, one that says "None", one longer
            than 2,000 characters, a rival where none belongs or none where one does.
        UsageError: a template without exactly one ``{}``, or an unknown phrasing.
    """

    class_names: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    phrasing: str = "default"
    dropped: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "rows", tuple(self.rows))
        object.__setattr__(self, "dropped", MappingProxyType(dict(self.dropped)))
        check_names(self.class_names)
        if self.phrasing not in PHRASINGS:
            raise UsageError(f"there is no phrasing {self.phrasing!r}: choose one of {', '.join(PHRASINGS)}.")
        known = set(self.class_names)
        for row in self.rows:
            _check_row(row, known)

    @classmethod
    def gather(cls, class_names: Sequence[str], rows: Iterable[Row], *, phrasing: str = "default") -> TextBank:
        """A bank of rows from elsewhere: texts that say nothing are dropped, those that are too long cut, both counted.

        A text is kept once for each class, kind and rival. `Row.text` may be null here.

        Raises:
            DataError: as for the bank itself, and for texts that are no text.
        """
        sieve = Sieve()
        kept: dict[tuple[str, str, str, str], Row] = {}
        for row in rows:
            text = sieve.take(row.text, repr(row.class_name))
            if text is None:
                continue
            key = (row.class_name, row.kind, text, row.rival)
            if key in kept:
                sieve.repeated()
            else:
                kept[key] = row if text == row.text else replace(row, text=text)
        return cls(tuple(class_names), tuple(kept.values()), phrasing, sieve.counts)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of texts of each kind that is there, in the order of `KINDS`."""
        found = Counter(row.kind for row in self.rows)
        return MappingProxyType({kind: found[kind] for kind in KINDS if found[kind]})

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the bank was made, one sentence each."""
        return notes(Counter(self.dropped))

    def texts(self, class_name: str, kind: str, rival: str = "") -> tuple[str, ...]:
        """The texts of one class, kind and rival, in order; templates that every class shares aren't among them."""
        return self._texts.get((class_name, kind, rival), ())

    @cached_property
    def _texts(self) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
        found: dict[tuple[str, str, str], list[str]] = {}
        for row in self.rows:
            found.setdefault((row.class_name, row.kind, row.rival), []).append(row.text)
        return {key: tuple(texts) for key, texts in found.items()}

    def select(self, *, classes: Iterable[str] | None = None, kinds: Iterable[str] | None = None) -> TextBank:
        """The rows of some classes and kinds; the order of the classes stays.

        One-vs-one rows stay where the rival stays. Templates that every class shares belong to each of them.

        Raises:
            UsageError: a class or kind that there is not.
        """
        wanted = set(self.class_names if classes is None else classes)
        of_kind = check_kinds(KINDS if kinds is None else kinds)
        if strange := sorted(wanted - set(self.class_names)):
            raise UsageError(f"the bank has no class {strange[0]!r}: choose among its {len(self.class_names)} classes.")
        with_shared = {*wanted, ""}
        rows = (r for r in self.rows if r.kind in of_kind and r.class_name in with_shared and r.rival in with_shared)
        return replace(self, class_names=tuple(n for n in self.class_names if n in wanted), rows=tuple(rows))

    def for_classes(self, class_names: Sequence[str], *, partial: bool = False) -> TextBank:
        """The texts of these classes, in this order and under these names; other classes are left out.

        A name is found as it is, or else by another spelling of it: case, dashes and underscores don't matter.

        Args:
            class_names: C names, such as a data set's.
            partial: whether classes without any text are let through.

        Raises:
            DataError: classes that the bank says nothing of, or one that two of its classes may mean.
        """
        check_names(class_names)
        new_name = self._owners(class_names)
        rows = [
            replace(r, class_name=new_name.get(r.class_name, ""), rival=new_name.get(r.rival, ""))
            for r in self.rows
            if (not r.class_name or r.class_name in new_name) and (not r.rival or r.rival in new_name)
        ]
        found = {row.class_name for row in rows}
        missing = [name for name in class_names if name not in found]
        if missing and not partial:
            shown = ", ".join(repr(name) for name in missing[:10]) + (", ..." if len(missing) > 10 else "")
            raise DataError(
                f"there are no texts of {len(missing)} of the {len(class_names)} classes ({shown}): "
                "add them to the bank, or correct the spelling of the names there."
            )
        return replace(self, class_names=tuple(class_names), rows=tuple(rows))

    def _owners(self, class_names: Sequence[str]) -> dict[str, str]:
        """The new name of each class of the bank that is wanted."""
        loose: dict[str, list[str]] = {}
        for name in self.class_names:
            loose.setdefault(match_key(name), []).append(name)
        known = set(self.class_names)
        found: dict[str, str] = {}
        for name in class_names:
            owners = [name] if name in known else loose.get(match_key(name), [])
            if len(owners) > 1:
                raise DataError(
                    f"{owners[0]!r} and {owners[1]!r} may both mean the class {name!r}: rename one of them."
                )
            if owners and owners[0] in found:
                raise DataError(f"the classes {found[owners[0]]!r} and {name!r} both fit the bank's {owners[0]!r}.")
            found.update(dict.fromkeys(owners, name))
        return found

    def features(
        self,
        backbone: Backbone | BackboneRef,
        templates: str | Sequence[str] | None = None,
        *,
        phrasing: str | Path | Phrasing | None = None,
        kinds: Iterable[str] | None = None,
        underscores: Underscores = True,
    ) -> TextFeatures:
        """Raw features of everything that the bank says, each different text encoded once and kept on disk.

        Args:
            backbone: loaded or not.
            templates: prompt templates for the class names; None takes the bank's own, else ``a photo of a {}.``.
            phrasing: how bare phrases become sentences; None takes the bank's own.
            kinds: which kinds; all by default. Class names are said though the bank has no row for them.
            underscores: True turns underscores in class names into spaces; ``"names"`` does so in names, synonyms and
                templates only, as CODER's released code does; False leaves them.

        Returns:
            (T, D) rows with class, kind, rival and text: first the templates, template by template, then the rows in
            the bank's order (a class without a row of kind ``name`` has its name before them).

        Raises:
            UsageError: bad templates, phrasing or kinds, or names that read the same.
            DataError: a class has no text of these kinds.
            BackboneError: the weights are needed and can't be had.
        """
        from clipwright.texts.saying import encode, say

        said = say(self, templates, phrasing=phrasing, kinds=kinds, underscores=underscores)
        return encode(backbone, said, self.class_names)

    def save(self, path: str | Path) -> None:
        """Write the bank as JSON, whole or not at all.

        Raises:
            DiskFullError: there is no room.
        """
        from clipwright.texts.bank_file import write_bank

        write_bank(self, Path(path))


def merge_banks(banks: Iterable[TextBank]) -> TextBank:
    """All texts of several banks: classes in the order in which they first appear, equal texts once.

    Where two banks have the same text of the same class, kind and rival, the first one's origin is kept. The phrasing
    is theirs where they agree, else the default.

    Raises:
        UsageError: there is none.
        DataError: two classes are spellings of one.
    """
    given = list(banks)
    if not given:
        raise UsageError("there is no bank to merge: give at least one.")
    names = dict.fromkeys(name for bank in given for name in bank.class_names)
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.setdefault(match_key(name), name)
        if other != name and not any({name, other} <= set(bank.class_names) for bank in given):
            raise DataError(
                f"one bank has the class {other!r}, another {name!r}: spell it the same, or use for_classes first."
            )
    phrasings = {bank.phrasing for bank in given}
    merged = TextBank.gather(
        tuple(names),
        (row for bank in given for row in bank.rows),
        phrasing=phrasings.pop() if len(phrasings) == 1 else "default",
    )
    dropped = sum((Counter(bank.dropped) for bank in given), Counter())
    return replace(merged, dropped=dropped)


def check_names(class_names: Sequence[str]) -> None:
    """Refuse class names that a bank can't have.

    Raises:
        DataError: missing, empty, repeated or no text, or a class that is called None.
    """
    check_class_names(class_names)
    for name in class_names:
        if says_none(name):
            raise DataError(f"the class name {name!r} can't be told from a missing one: rename the class.")


def check_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds, each once.

    Raises:
        UsageError: one that there is not.
    """
    wanted = tuple(dict.fromkeys([kinds] if isinstance(kinds, str) else kinds))
    if strange := [kind for kind in wanted if kind not in KINDS]:
        raise UsageError(f"there is no kind of text {strange[0]!r}: choose among {', '.join(KINDS)}.")
    return wanted


def _check_row(row: Row, class_names: set[str]) -> None:
    if row.kind not in KINDS:
        raise DataError(f"there is no kind of text {row.kind!r}: choose among {', '.join(KINDS)}.")
    shared = row.kind == TEMPLATE and not row.class_name
    if not shared and row.class_name not in class_names:
        raise DataError(f"a text speaks of {row.class_name!r}, which isn't one of the {len(class_names)} classes.")
    if not isinstance(row.text, str) or not row.text.strip():
        raise DataError(f"a text of {row.class_name!r} is empty: remove the row.")
    if says_none(row.text):
        raise DataError(f'a text of {row.class_name!r} says "None", as programs do for nothing: {row.text!r:.80}.')
    if len(row.text) > MOST_CHARACTERS or row.text != tidy(row.text):
        raise DataError(f"a text of {row.class_name!r} is too long or has stray spaces: make banks with gather.")
    if row.kind == TEMPLATE:
        check_template(row.text)
    _check_rival(row, class_names)


def _check_rival(row: Row, class_names: set[str]) -> None:
    if row.kind == ONE_VS_ONE:
        if row.rival not in class_names or row.rival == row.class_name:
            raise DataError(
                f"a one-vs-one text of {row.class_name!r} has the rival {row.rival!r}: name another of the classes."
            )
    elif row.rival:
        raise DataError(f"a text of kind {row.kind} has the rival {row.rival!r}: only one-vs-one texts have rivals.")
