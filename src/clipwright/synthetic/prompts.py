"""What language models are asked: wordings in a data file, each with a version and a hash that its answers carry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipwright.core.errors import FormatError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.synthetic.messages import Message, quoted, system, user

Kind = Literal["attribute", "analogue", "synonym", "one-vs-one", "description", "descriptor"]
KINDS: tuple[Kind, ...] = ("attribute", "analogue", "synonym", "one-vs-one", "description", "descriptor")

_FILE = Path(__file__).with_name("prompts.json")
_FORMAT = 1
_PLACE = re.compile(r"\{(class|rival|count|domain|taken)\}")
_ANY_PLACE = re.compile(r"\{(\w+)\}")
_NEEDED: Mapping[str, tuple[str, ...]] = {"one-vs-one": ("class", "rival"), "analogue": ("class", "taken")}


@dataclass(frozen=True)
class Prompt:
    """One wording for one kind of text.

    Attributes:
        kind: what is asked for.
        version: of the wording.
        system: what the model is told first.
        text: the request, with places ``{class}``, ``{rival}``, ``{count}``, ``{domain}`` and ``{taken}``.
        count: how many phrases are asked for.
        max_tokens: limit on the answer.
    """

    kind: Kind
    version: str
    system: str
    text: str
    count: int
    max_tokens: int

    @property
    def hash(self) -> str:
        """16 hex digits that change with the wording, and not with what is filled in."""
        return digest_json([self.kind, self.version, self.system, self.text])[:16]

    def fill(
        self,
        class_name: str,
        rival: str = "",
        *,
        domain: str = "",
        taken: tuple[str, ...] = (),
        count: int | None = None,
    ) -> list[Message]:
        """The messages about one class, or two.

        Names are written as JSON strings, and places inside them are not filled.

        Args:
            class_name: what the texts are about.
            rival: the other class of a pair.
            domain: what kind of pictures they are, such as ``satellite photos``; may be empty.
            taken: names that the model should not give.
            count: how many phrases; the prompt's own number when left out.
        """
        values = {
            "class": quoted(class_name),
            "rival": quoted(rival),
            "count": str(self.count if count is None else count),
            "domain": f"The pictures are of this kind: {quoted(domain)}. " if domain else "",
            "taken": ", ".join(map(quoted, taken)) or "(none)",
        }
        return [system(self.system), user(_PLACE.sub(lambda place: values[place[1]], self.text))]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: str = Field(min_length=1, max_length=40)
    texts: list[str] = Field(min_length=1, max_length=50)
    count: int = Field(default=6, ge=1, le=50)
    max_tokens: int = Field(default=400, ge=16, le=16384)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    author: str = ""
    licence: str = ""
    system: str | None = None
    prompts: dict[Kind, _Entry]


@cache
def own_prompts() -> Mapping[Kind, tuple[Prompt, ...]]:
    """The wordings that come with clipwright, by kind; each text of a kind is a request of its own."""
    return _made(_parse(_FILE), "")


def read_prompts(path: Path | None = None) -> Mapping[Kind, tuple[Prompt, ...]]:
    """The wordings of a file, and clipwright's own for the kinds that it doesn't hold.

    Args:
        path: JSON in the form of clipwright's ``synthetic/prompts.json``; None for its own alone.

    Raises:
        UsageError: the file can't be read, is in another form, or a text lacks a place.
        FormatError: it is newer than this clipwright.
    """
    if path is None:
        return own_prompts()
    file = _parse(path)
    standard = next(iter(own_prompts().values()))[0].system
    return {**own_prompts(), **_made(file, standard)}


def _parse(path: Path) -> _File:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise UsageError(f"the prompts in {path} can't be read ({reason}).") from error
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > _FORMAT:
        raise FormatError(f"the prompts in {path} have format {value['format']}: update clipwright to read them.")
    try:
        file = _File.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"the prompts in {path} are not in the form needed: {place}: {first['msg']}.") from error
    for kind, entry in file.prompts.items():
        for text in entry.texts:
            _check_places(kind, text, path)
    return file


def _check_places(kind: Kind, text: str, path: Path) -> None:
    found = set(_ANY_PLACE.findall(text))
    missing = [place for place in _NEEDED.get(kind, ("class",)) if place not in found]
    unknown = sorted(place for place in found if not _PLACE.fullmatch(f"{{{place}}}"))
    if missing:
        raise UsageError(f"a prompt for {kind} in {path} has no {{{missing[0]}}}: write it where that goes.")
    if unknown:
        raise UsageError(
            f"a prompt for {kind} in {path} has the unknown place {{{unknown[0]}}}: there are {{class}}, {{rival}}, "
            "{count}, {domain} and {taken}."
        )


def _made(file: _File, standard: str) -> dict[Kind, tuple[Prompt, ...]]:
    told = file.system if file.system is not None else standard
    return {
        kind: tuple(Prompt(kind, entry.version, told, text, entry.count, entry.max_tokens) for text in entry.texts)
        for kind, entry in file.prompts.items()
    }
