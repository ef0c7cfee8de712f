"""How a multimodal model is asked for the class of a picture: slots that a search may edit, and what they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipwright.core.errors import FormatError, UsageError
from clipwright.core.rng import generator
from clipwright.synthetic.messages import Message, quoted, system, user

_FILE = Path(__file__).with_name("label_prompts.json")
_FORMAT = 1
_ORDERS = 64  # orders of the classes that a search may try


@dataclass(frozen=True)
class LabelPrompt:
    """What a model is told and shown.

    Attributes:
        system: what it is told first.
        instruction: what is asked of a picture.
        class_names: C names.
        words: what is said of each class after its name; empty for nothing.
        order: (C,) class numbers in the order in which they are listed.
    """

    system: str
    instruction: str
    class_names: tuple[str, ...]
    words: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def text(self) -> str:
        """The request that goes with a picture; names and words are JSON strings, one class on a line."""
        lines = [
            f"- {quoted(self.class_names[i])}" + (f": {quoted(self.words[i])}" if self.words[i] else "")
            for i in self.order
        ]
        return "\n".join([self.instruction, *lines])

    def messages(self, image: str) -> list[Message]:
        """The messages about one picture, given as a data URL."""
        return [system(self.system), user(self.text, [image])]


@dataclass(frozen=True)
class Candidate:
    """One point of the search, as numbers of options.

    Attributes:
        slots: option of each slot.
        words: option of each class's words.
        order: number of the order of classes; 0 is as given.
    """

    slots: tuple[int, ...]
    words: tuple[int, ...]
    order: int = 0


class Slot(BaseModel):
    """A place in the instruction, and what may stand there; the first option is where a search starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1)
    options: tuple[str, ...] = Field(min_length=1, max_length=100)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    version: str = ""
    author: str = ""
    licence: str = ""
    system: str | None = None
    slots: tuple[Slot, ...] = Field(min_length=1, max_length=20)


@dataclass(frozen=True)
class Space:
    """All wordings that a search may try.

    Attributes:
        system: what the model is told first.
        slots: places in the instruction.
        class_names: C names.
        words: for each class, what may be said of it; the first is nothing.
        seed: orders of classes come from it.
    """

    system: str
    slots: tuple[Slot, ...]
    class_names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    seed: int = 0

    @property
    def start(self) -> Candidate:
        """The first option everywhere."""
        return Candidate((0,) * len(self.slots), (0,) * len(self.class_names))

    def prompt(self, candidate: Candidate) -> LabelPrompt:
        """The prompt that a candidate makes."""
        chosen = [slot.options[i] for slot, i in zip(self.slots, candidate.slots, strict=True)]
        return LabelPrompt(
            self.system,
            " ".join(text for text in chosen if text),
            self.class_names,
            tuple(options[i] for options, i in zip(self.words, candidate.words, strict=True)),
            self._order(candidate.order),
        )

    def _order(self, number: int) -> tuple[int, ...]:
        classes = len(self.class_names)
        if number == 0:
            return tuple(range(classes))
        return tuple(generator(self.seed, "order of classes", number).permutation(classes).tolist())

    def neighbour(self, candidate: Candidate, rng: np.random.Generator, weights: np.ndarray) -> Candidate:
        """The candidate with one thing changed: a slot, the words of one class or of all, or the order of classes.

        Args:
            candidate: where to start.
            rng: chooses.
            weights: (C,) how much each class needs other words: those that were confused more often.
        """
        moves = ["slot"] * any(len(slot.options) > 1 for slot in self.slots)
        if any(len(options) > 1 for options in self.words):
            moves += ["words", "words", "all words"]
        if len(self.class_names) > 1:
            moves.append("order")
        if not moves:
            return candidate
        move = moves[int(rng.integers(len(moves)))]
        if move == "order":
            return replace(candidate, order=int(rng.integers(_ORDERS)))
        if move == "slot":
            place = _pick(rng, [len(slot.options) > 1 for slot in self.slots])
            return replace(candidate, slots=_changed(candidate.slots, place, len(self.slots[place].options), rng))
        if move == "all words":
            level = int(rng.integers(max(map(len, self.words))))
            return replace(candidate, words=tuple(min(level, len(options) - 1) for options in self.words))
        place = _pick(rng, [(len(options) > 1) * (w + 0.1) for options, w in zip(self.words, weights, strict=True)])
        return replace(candidate, words=_changed(candidate.words, place, len(self.words[place]), rng))


def _pick(rng: np.random.Generator, weights: Sequence[float]) -> int:
    p = np.asarray(weights, dtype=np.float64)
    return int(rng.choice(len(p), p=p / p.sum()))


def _changed(values: tuple[int, ...], place: int, options: int, rng: np.random.Generator) -> tuple[int, ...]:
    other = (values[place] + 1 + int(rng.integers(options - 1))) % options
    return (*values[:place], other, *values[place + 1 :])


@cache
def _own() -> _File:
    return _parse(_FILE)


def read_space(
    class_names: Sequence[str],
    *,
    words: Mapping[str, Sequence[str]] | None = None,
    path: Path | None = None,
    seed: int = 0,
) -> Space:
    """The wordings to search.

    Args:
        class_names: C names.
        words: phrases about each class that may be put beside its name, such as those of a text bank.
        path: JSON in the form of clipwright's ``synthetic/label_prompts.json``; None for its own.
        seed: orders of classes come from it.

    Raises:
        UsageError: the file can't be read or is in another form.
        FormatError: it is newer than this clipwright.
    """
    file = _own() if path is None else _parse(path)
    told = file.system if file.system is not None else str(_own().system)
    options = [tuple(dict.fromkeys(["", *(words or {}).get(name, ())])) for name in class_names]
    return Space(told, file.slots, tuple(class_names), tuple(options), seed)


def _parse(path: Path) -> _File:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise UsageError(f"the wordings in {path} can't be read ({reason}).") from error
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > _FORMAT:
        raise FormatError(f"the wordings in {path} have format {value['format']}: update clipwright to read them.")
    try:
        return _File.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"the wordings in {path} are not in the form needed: {place}: {first['msg']}.") from error
