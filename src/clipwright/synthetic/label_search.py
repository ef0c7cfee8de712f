"""A search over wordings for a model that answers with a label only: (1 + lambda) with races, counted in calls.

Nothing but labels comes back, so a wording's worth is how many support images it gets right. One wording leads. Each
generation changes it in a few ways, one thing at a time while there is one that wasn't tried, and races the changed
ones over the support images, part by part. After each part are dropped: the worse half (of equals, none); whatever
could no longer beat the leader even if everything left were right; and, from half of the images on, whatever isn't
ahead of the leader on the images seen. A changed wording takes the lead only with more images right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from clipwright.core.errors import DataError, UsageError
from clipwright.core.progress import progress
from clipwright.core.rng import generator
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.label_answers import read_label
from clipwright.synthetic.label_classifier import MAX_TOKENS, no_class
from clipwright.synthetic.wording import Candidate, LabelPrompt, Space

_PARTS = (0.25, 0.5, 1.0)  # of the support images, after which a race drops wordings
_FIRST = 8  # images after which a model that never names a class is given up on
_STALE = 25  # changed wordings in a row that were tried already, after which one thing more is changed
_MOST_CHANGES = 4  # things changed at a time; after that there is nothing left to try


@dataclass(frozen=True)
class Step:
    """A wording that took the lead.

    Attributes:
        calls: questions asked until then.
        right: support images that it gets right.
        candidate: the wording.
    """

    calls: int
    right: int
    candidate: Candidate


@dataclass(frozen=True)
class Found:
    """What a search ends with.

    Attributes:
        candidate: the best wording.
        right: support images that it gets right.
        images: how many support images there are.
        calls: different questions asked, those included that an earlier run had paid.
        tried: wordings tried, the first included.
        dropped: wordings dropped before they had seen all images.
        no_class: answers that named none of the classes.
        steps: each wording that took the lead, the first included.
        stopped: why the search ended: ``budget``, ``all right`` or ``nothing left to try``.
    """

    candidate: Candidate
    right: int
    images: int
    calls: int
    tried: int
    dropped: int
    no_class: int
    steps: tuple[Step, ...]
    stopped: str


class OutOfBudgetError(Exception):
    """The calls that are left aren't enough for the next part of a race."""


@dataclass
class _Judge:
    """Asks for labels, never the same twice, and counts against the budget."""

    space: Space
    images: Sequence[str]
    labels: np.ndarray
    chat: Chat
    budget: int
    max_tokens: int
    advance: Callable[[int], None]
    answers: dict[tuple[Candidate, int], int | None] = field(default_factory=dict)
    no_class: int = 0

    @property
    def calls(self) -> int:
        return len(self.answers)

    def ask(self, questions: Sequence[tuple[Candidate, int]]) -> None:
        """Get the labels of (wording, image) pairs, several at a time."""
        new = list(dict.fromkeys(q for q in questions if q not in self.answers))
        if self.calls + len(new) > self.budget:
            raise OutOfBudgetError
        names = self.space.class_names

        def label(question: tuple[Candidate, int]) -> tuple[int | None, str]:
            candidate, image = question
            messages = self.space.prompt(candidate).messages(self.images[image])
            text = self.chat.ask(messages, max_tokens=self.max_tokens).spoken
            return read_label(text, names), text

        said = ""
        with closing(self.chat.each(new, label)) as labels:
            for number, (found, text) in labels:
                self.answers[new[number]] = found
                if found is None:
                    self.no_class += 1
                    said = text
                self.advance(1)
        if self.no_class == self.calls >= min(_FIRST, len(self.images)):
            raise DataError(
                f"{no_class(said, len(names))}, and so with every image so far: use a model that takes images, more "
                "--max-tokens, or wordings of your own (--prompts)."
            )

    def right(self, candidate: Candidate, rows: Sequence[int]) -> int:
        """How many of these images a wording got right."""
        return sum(bool(self.answers.get((candidate, row)) == self.labels[row]) for row in rows)

    def confused(self, candidate: Candidate) -> np.ndarray:
        """(C,) how often each class was missed or wrongly named."""
        found = np.zeros(len(self.space.class_names))
        for row, label in enumerate(self.labels):
            answer = self.answers.get((candidate, row))
            if answer != label:
                found[label] += 1
                if answer is not None:
                    found[answer] += 1
        return found


def search(
    space: Space,
    images: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    chat: Chat,
    *,
    budget: int,
    offspring: int = 4,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    quiet: bool = False,
) -> Found:
    """Find the wording that gets most support images right.

    The search depends on the answers and the seed alone, and the budget counts different questions, whether or not an
    earlier run had paid for them: a run that was killed goes the same way again, and pays only from where it stopped.

    Args:
        space: wordings that may be tried.
        images: n support images as data URLs.
        labels: (n,) their classes.
        chat: the model.
        budget: questions that may be asked, at least n.
        offspring: changed wordings that race in one generation.
        max_tokens: limit on an answer.
        seed: changes and the order of images come from it.
        quiet: show no progress.

    Raises:
        UsageError: the budget is too small for the first wording.
        DataError: there are no images, or the model names no class.
        EndpointError: the server refused, or didn't answer.
    """
    if not len(images):
        raise DataError("there are no labelled images to judge wordings by: give a few per class.")
    if budget < len(images):
        raise UsageError(
            f"--budget {budget} is less than the {len(images)} support images, by which every wording is judged: "
            "give several times as many, or fewer --shots."
        )
    y = np.asarray(labels, dtype=np.int64)
    meter = _meter(chat)
    with progress("tune the prompt", budget, "calls", quiet=quiet, meter=meter) as advance:
        judge = _Judge(space, images, y, chat, budget, max_tokens, advance)
        return _Search(judge, _parts(y, seed), offspring, seed).run()


class _Search:
    def __init__(self, judge: _Judge, parts: Sequence[Sequence[int]], offspring: int, seed: int) -> None:
        self.judge, self.parts = judge, parts
        self.rows = [row for part in parts for row in part]
        self.offspring = offspring
        self.rng = generator(seed, "changes of wording")
        self.leader = judge.space.start
        self.tried = 1
        self.prompts = {judge.space.prompt(self.leader)}
        self.dropped = 0

    def run(self) -> Found:
        judge = self.judge
        for row in range(0, len(self.rows), _FIRST):
            judge.ask([(self.leader, r) for r in self.rows[row : row + _FIRST]])
        best = judge.right(self.leader, self.rows)
        steps = [Step(judge.calls, best, self.leader)]
        stopped = "budget"
        while True:
            if best == len(self.rows):
                stopped = "all right"
                break
            racers = self._changed()
            if not racers:
                stopped = "nothing left to try"
                break
            try:
                winner = self._race(racers, best)
            except OutOfBudgetError:
                break
            if winner is not None:
                self.leader, best = winner, judge.right(winner, self.rows)
                steps.append(Step(judge.calls, best, winner))
        return Found(
            self.leader,
            best,
            len(self.rows),
            judge.calls,
            self.tried,
            self.dropped,
            judge.no_class,
            tuple(steps),
            stopped,
        )

    def _changed(self) -> list[Candidate]:
        """Wordings near the leader that weren't tried; fewer than wanted where there are no more."""
        found: list[Candidate] = []
        weights = self.judge.confused(self.leader)
        stale, changes = 0, 1
        while len(found) < self.offspring and changes <= _MOST_CHANGES:
            candidate = self.leader
            for _ in range(changes):
                candidate = self.judge.space.neighbour(candidate, self.rng, weights)
            prompt = self.judge.space.prompt(candidate)
            if prompt in self.prompts:
                stale += 1
                changes += stale % _STALE == 0
                continue
            stale = 0
            self.prompts.add(prompt)
            found.append(candidate)
        self.tried += len(found)
        return found

    def _race(self, racers: list[Candidate], best: int) -> Candidate | None:
        """The racer that gets more images right than the leader, the most of all; None where none does."""
        seen: list[int] = []
        alive = list(racers)
        for part in self.parts:
            self.judge.ask([(candidate, row) for candidate in alive for row in part])
            seen += part
            left = len(self.rows) - len(seen)
            right = {candidate: self.judge.right(candidate, seen) for candidate in alive}
            behind = self.judge.right(self.leader, seen) if 2 * len(seen) >= len(self.rows) else -1
            least = sorted(right.values(), reverse=True)[(len(alive) - 1) // 2]
            kept = [
                c for c in alive if right[c] + left > best and right[c] > behind and (right[c] >= least or not left)
            ]
            kept.sort(key=lambda c: -right[c])  # stable: of equals, the one that was made first
            self.dropped += (len(alive) - len(kept)) * bool(left)
            alive = kept
            if not alive:
                return None
        return alive[0]


def count_right(
    prompt: LabelPrompt, images: Sequence[str], labels: Sequence[int] | np.ndarray, chat: Chat, *, max_tokens: int
) -> int:
    """How many images (data URLs) a prompt gets right; one question for each.

    Raises:
        EndpointError: the server refused, or didn't answer.
    """

    def right(number: int) -> bool:
        text = chat.ask(prompt.messages(images[number]), max_tokens=max_tokens).spoken
        return bool(read_label(text, prompt.class_names) == labels[number])

    with closing(chat.each(range(len(images)), right)) as found:
        return sum(answer for _, answer in found)


def _parts(labels: np.ndarray, seed: int) -> list[list[int]]:
    """Images in parts, in an order in which every beginning holds the classes about equally often."""
    rng = generator(seed, "order of support images")
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        turn[rng.permutation(rows)] = np.arange(len(rows))
    order = np.lexsort((rng.random(len(labels)), turn)).tolist()
    ends = sorted({max(1, round(share * len(order))) for share in _PARTS})
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _meter(chat: Chat) -> Callable[[], str]:
    return lambda: chat.usage.meter(chat.endpoint.prices)


def words_of(class_names: Sequence[str], texts: Mapping[str, Sequence[str]], most: int) -> dict[str, list[str]]:
    """The first few phrases about each class, alone and all together, as a search may put them beside the names."""
    found: dict[str, list[str]] = {}
    for name in class_names:
        phrases = list(dict.fromkeys(texts.get(name, ())))[:most]
        joined = ["; ".join(phrases[:count]) for count in range(2, len(phrases) + 1)]
        found[name] = [*joined[::-1], *phrases]
    return found
