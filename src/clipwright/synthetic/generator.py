"""CODER's text generator (Yi et al., CVPR 2024), and CuPL's and DCLIP's: a few requests for each class and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from clipwright.synthetic.chat import Answer, AnswerError, Chat
from clipwright.synthetic.closeness import Closeness
from clipwright.synthetic.messages import Message
from clipwright.synthetic.phrases import ClassPhrases, PairPhrases, about, cleaned, usable
from clipwright.synthetic.prompts import KINDS, Kind, Prompt
from clipwright.texts.bank import Row

MORE_ROUNDS = 6  # further requests for look-alikes, while the last one repeated classes
SOURCE = "language model"

_BANK_KIND: Mapping[Kind, str] = {"descriptor": "attribute"}


@dataclass(frozen=True, order=True)
class Unit:
    """One piece of work: one prompt about one class, or about a pair.

    Attributes:
        kind: position of the kind in `KINDS`.
        class_index: which class.
        rival: the other class, -1 where there is none.
        prompt: which of the kind's prompts.
    """

    kind: int
    class_index: int
    rival: int
    prompt: int


@dataclass(frozen=True)
class Produced:
    """What one unit gave.

    Attributes:
        rows: for the bank.
        dropped: what was left out, by reason.
        wrong: why there is nothing at all, or None.
    """

    rows: tuple[Row, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    wrong: str | None = None


class Generator:
    """Asks about the classes of one data set.

    Args:
        class_names: C names, untrusted.
        prompts: wordings by kind.
        closeness: tells look-alikes that repeat a class.
        domain: what kind of pictures they are; may be empty.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        prompts: Mapping[Kind, tuple[Prompt, ...]],
        closeness: Closeness,
        *,
        domain: str = "",
    ) -> None:
        self.class_names, self.prompts, self.domain = tuple(class_names), prompts, domain
        self._closeness = closeness

    def units(self, kinds: Sequence[Kind], pairs: Sequence[tuple[int, int]]) -> list[Unit]:
        """All that there is to do, kind by kind and class by class."""
        found = []
        for kind in kinds:
            targets = pairs if kind == "one-vs-one" else [(i, -1) for i in range(len(self.class_names))]
            which = range(len(self.prompts[kind]))
            found += [Unit(KINDS.index(kind), i, j, number) for i, j in targets for number in which]
        return sorted(found)

    def prompt(self, unit: Unit) -> Prompt:
        """The wording of a unit."""
        return self.prompts[KINDS[unit.kind]][unit.prompt]

    def messages(self, unit: Unit) -> list[Message]:
        """The first request of a unit."""
        rival = self.class_names[unit.rival] if unit.rival >= 0 else ""
        return self.prompt(unit).fill(self.class_names[unit.class_index], rival, domain=self.domain)

    def produce(self, chat: Chat, unit: Unit) -> Produced:
        """Ask for one unit; an answer that stays wrong gives no rows and says so.

        Raises:
            EndpointError: the server refused, or didn't answer.
        """
        try:
            if KINDS[unit.kind] == "one-vs-one":
                return self._pair(chat, unit)
            if KINDS[unit.kind] == "analogue":
                return self._analogues(chat, unit)
            return self._phrases(chat, unit)
        except AnswerError as error:
            reason = "answer about another class" if error.fits else "no usable answer"
            return Produced(dropped=Counter({reason: 1}), wrong=str(error))

    def _phrases(self, chat: Chat, unit: Unit) -> Produced:
        kind = KINDS[unit.kind]
        value, answer = self._ask(chat, unit, self.messages(unit))
        dropped: Counter[str] = Counter()
        names = self.class_names if kind == "synonym" else (self.class_names[unit.class_index],)
        kept = usable(value.phrases, sentence=kind == "description", names=names, dropped=dropped)
        return Produced(self._rows(unit, kept, answer), dropped)

    def _analogues(self, chat: Chat, unit: Unit) -> Produced:
        """Look-alikes; while some repeat classes, ask for as many more, in at most six further rounds."""
        name, prompt = self.class_names[unit.class_index], self.prompt(unit)
        dropped: Counter[str] = Counter()
        kept: list[str] = []
        rows: tuple[Row, ...] = ()
        taken: list[str] = []
        messages = self.messages(unit)
        for round_ in range(1 + MORE_ROUNDS):
            try:
                value, answer = self._ask(chat, unit, messages)
            except AnswerError:
                if round_ == 0:
                    raise
                dropped["no usable answer"] += 1
                break
            given = usable(value.phrases, dropped=dropped)
            fresh = [phrase for phrase in given if phrase not in taken]
            dropped["repeated"] += len(given) - len(fresh)
            repeats = self._closeness.repeats(fresh)
            good = [phrase for phrase, again in zip(fresh, repeats, strict=True) if not again]
            rows += self._rows(unit, good[: prompt.count - len(kept)], answer)
            kept += good[: prompt.count - len(kept)]
            taken += fresh
            dropped["repeats a class"] += sum(repeats)
            missing = min(sum(repeats), prompt.count - len(kept))
            if missing <= 0:
                break
            messages = prompt.fill(name, domain=self.domain, taken=tuple(taken), count=missing)
        return Produced(rows, +dropped)

    def _pair(self, chat: Chat, unit: Unit) -> Produced:
        i, j = unit.class_index, unit.rival
        first, second = self.class_names[i], self.class_names[j]

        def check(value: PairPhrases) -> str | None:
            return about(value.first_name, first) or about(value.second_name, second)

        prompt = self.prompt(unit)
        value, answer = chat.ask_json(self.messages(unit), PairPhrases, check=check, max_tokens=prompt.max_tokens)
        dropped: Counter[str] = Counter()
        of_first = usable(value.first, names=(first, second), dropped=dropped)
        of_second = usable(value.second, names=(first, second), dropped=dropped)
        shared = {phrase.casefold() for phrase in of_first} & {phrase.casefold() for phrase in of_second}
        dropped["said of both"] += 2 * len(shared)
        rows = [self._row(unit, p, answer, first, second) for p in of_first if p.casefold() not in shared]
        rows += [self._row(unit, p, answer, second, first) for p in of_second if p.casefold() not in shared]
        return Produced(tuple(rows), +dropped)

    def _ask(self, chat: Chat, unit: Unit, messages: list[Message]) -> tuple[ClassPhrases, Answer]:
        name = self.class_names[unit.class_index]
        check = partial(_about, asked=name)
        return chat.ask_json(messages, ClassPhrases, check=check, max_tokens=self.prompt(unit).max_tokens)

    def _rows(self, unit: Unit, phrases: Sequence[str], answer: Answer) -> tuple[Row, ...]:
        return tuple(self._row(unit, phrase, answer, self.class_names[unit.class_index]) for phrase in phrases)

    def _row(self, unit: Unit, phrase: str, answer: Answer, name: str, rival: str = "") -> Row:
        prompt = self.prompt(unit)
        kind = _BANK_KIND.get(prompt.kind, prompt.kind)
        model = cleaned(answer.model, sentence=True)[:200]
        return Row(name, kind, phrase, rival, SOURCE, model, answer.date, prompt.hash)


def _about(value: ClassPhrases, asked: str) -> str | None:
    return about(value.name, asked)
