"""What classes look like, in words: a text bank made by a language model or by WordNet, resumable and in parts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import DataError, UsageError
from clipwright.core.progress import progress
from clipwright.data.dataset import Dataset
from clipwright.engine import part_of
from clipwright.engine.partition import Shard
from clipwright.synthetic.chat import Chat, decode
from clipwright.synthetic.closeness import DEFAULT_LIMIT, Closeness
from clipwright.synthetic.generator import MORE_ROUNDS, Generator, Produced, Unit
from clipwright.synthetic.pairs import PairSource, confusable_pairs
from clipwright.synthetic.phrases import ClassPhrases, PairPhrases
from clipwright.synthetic.prompts import KINDS, Kind, Prompt, own_prompts
from clipwright.synthetic.usage import estimate_tokens
from clipwright.texts.bank import KINDS as BANK_KINDS
from clipwright.texts.bank import ONE_VS_ONE, Row, TextBank

Source = Literal["llm", "wordnet"]
DEFAULT_KINDS: tuple[Kind, ...] = ("attribute", "analogue", "synonym")

_GIVE_UP = 12  # requests without one usable answer after which a model is taken to be unable
_TOKENS_PER_PHRASE, _TOKENS_PER_SENTENCE = 12, 40


@dataclass(frozen=True)
class Plan:
    """What is to be asked.

    Attributes:
        generator: asks it.
        units: what this run asks, in order.
        total: how many units there are with those of other parts.
        pairs: how many pairs of classes are compared.
    """

    generator: Generator
    units: tuple[Unit, ...]
    total: int
    pairs: int


@dataclass(frozen=True)
class Description:
    """A bank, and how it came about.

    Attributes:
        bank: the texts.
        summary: JSON: rows by kind, what was dropped and why, what wasn't answered, and what it cost.
    """

    bank: TextBank
    summary: Mapping[str, Any] = field(default_factory=dict)


def check_kinds(kinds: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds of text to ask for, each once, in a fixed order.

    Raises:
        UsageError: an unknown kind, none at all, or two wordings of one kind.
    """
    if strange := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"there is no kind of text {strange[0]!r} to ask for: choose among {', '.join(KINDS)}.")
    found = tuple(kind for kind in KINDS if kind in kinds)
    if not found:
        raise UsageError(f"no kind of text is asked for: choose among {', '.join(KINDS)}.")
    if {"attribute", "descriptor"} <= set(found):
        raise UsageError(
            "attribute and descriptor are both stored as attributes, said in different sentences: ask for one of them "
            "and make another bank for the other."
        )
    return found


def plan(
    class_names: Sequence[str],
    kinds: Sequence[str] = DEFAULT_KINDS,
    *,
    prompts: Mapping[Kind, tuple[Prompt, ...]] | None = None,
    backbone: BackboneRef | None = None,
    dataset: Dataset | None = None,
    pairs: PairSource = "texts",
    per_class: int = 3,
    limit: float = DEFAULT_LIMIT,
    domain: str = "",
    max_tokens: int | None = None,
    shard: Shard = (1, 1),
    quiet: bool = False,
) -> Plan:
    """Find what is to be asked; nothing is sent.

    Args:
        class_names: C names.
        kinds: out of ``attribute``, ``analogue``, ``synonym``, ``one-vs-one``, ``description`` (CuPL), ``descriptor``
            (DCLIP).
        prompts: wordings; clipwright's own when left out.
        backbone: finds look-alikes that repeat a class, and classes that are easily confused. Without one, look-alikes
            are compared by spelling alone.
        dataset: images for ``pairs="images"``.
        pairs: how confusable classes are found.
        per_class: rivals of each class, at most.
        limit: cosine above which a look-alike repeats a class.
        domain: what kind of pictures they are, such as ``satellite photos``.
        max_tokens: limit on an answer in place of the prompts' own; models that think aloud need thousands.
        shard: (I, N): part I of N.
        quiet: show no progress.

    Raises:
        UsageError: kinds that don't go together, or a backbone that is missing.
    """
    wanted = check_kinds(kinds)
    TextBank(tuple(class_names))  # refuses names that no bank can have
    found: list[tuple[int, int]] = []
    if "one-vs-one" in wanted:
        options: dict[str, Any] = {"per_class": per_class, "backbone": backbone, "dataset": dataset, "quiet": quiet}
        found = confusable_pairs(class_names, pairs, **options)
    closeness = Closeness(class_names, backbone if "analogue" in wanted else None, limit=limit)
    wordings = prompts or own_prompts()
    if max_tokens is not None:
        wordings = {kind: tuple(replace(p, max_tokens=max_tokens) for p in texts) for kind, texts in wordings.items()}
    generator = Generator(class_names, wordings, closeness, domain=domain)
    units = generator.units(wanted, found)
    keys = [json.dumps([KINDS[u.kind], class_names[u.class_index], u.rival, u.prompt]) for u in units]
    return Plan(generator, tuple(units[i] for i in part_of(keys, shard)), len(units), len(found))


def estimate(work: Plan, chat: Chat) -> dict[str, Any]:
    """What a run would ask and about what it would cost; nothing is sent.

    Returns:
        JSON: ``requests`` to send if every first answer is good, ``requests_at_most`` if every answer has to be
        corrected and every list of look-alikes repeats classes to the end, those ``cached``, and tokens (a quarter of
        the characters; of answers, what the phrases asked for take), with ``cost`` where prices are known.
    """
    requests = most = cached = sent = answered = 0
    for unit in work.units:
        prompt, messages = work.generator.prompt(unit), work.generator.messages(unit)
        schema = PairPhrases if prompt.kind == "one-vs-one" else ClassPhrases
        if chat.known(messages, decode(max_tokens=prompt.max_tokens, schema=schema)) is not None:
            cached += 1
            continue
        requests += 1
        most += 2 * (1 + MORE_ROUNDS * (prompt.kind == "analogue"))
        sent += estimate_tokens(messages)
        each = _TOKENS_PER_SENTENCE if prompt.kind == "description" else _TOKENS_PER_PHRASE
        lists = 2 if prompt.kind == "one-vs-one" else 1
        answered += min(prompt.count * each * lists + _TOKENS_PER_SENTENCE, prompt.max_tokens)
    found: dict[str, Any] = {
        "classes": len(work.generator.class_names),
        "pairs": work.pairs,
        "requests": requests,
        "requests_at_most": most,
        "cached": cached,
        "prompt_tokens": sent,
        "completion_tokens": answered,
    }
    if chat.endpoint.prices is not None:
        found["cost"] = round(chat.endpoint.prices.cost(sent, answered), 6)
    return found


def describe(work: Plan, chat: Chat, *, quiet: bool = False) -> Description:
    """Ask all that is planned, and make a bank of the answers.

    A run that is stopped or killed loses only the requests in flight: the same run again reads the rest from the
    answers that were kept.

    Raises:
        EndpointError: the server refused, or didn't answer.
        DataError: the model gave no usable answer at all.
    """
    produced: dict[int, Produced] = {}
    label = f"describe {len(work.generator.class_names)} classes"
    prices = chat.endpoint.prices
    with (
        progress(label, len(work.units), "texts", quiet=quiet, meter=lambda: chat.usage.meter(prices)) as advance,
        closing(chat.each(work.units, lambda unit: work.generator.produce(chat, unit))) as results,
    ):
        for number, result in results:
            produced[number] = result
            advance(1)
            _check_able(produced)
    ordered = [produced[number] for number in sorted(produced)]
    wrong = [result.wrong for result in ordered if result.wrong is not None]
    if ordered and len(wrong) == len(ordered):
        raise _unable(wrong[0], len(wrong))
    dropped = sum((result.dropped for result in ordered), Counter())
    phrasing = "dclip" if any(work.generator.prompt(unit).kind == "descriptor" for unit in work.units) else "default"
    bank = in_order(work.generator.class_names, [row for result in ordered for row in result.rows], phrasing)
    asked = {i for unit in work.units for i in (unit.class_index, unit.rival) if i >= 0}
    summary = summarise(bank, dropped, asked=[work.generator.class_names[i] for i in sorted(asked)])
    summary |= {
        "requests": len(work.units),
        "unanswered": len(wrong),
        "pairs": work.pairs,
        "usage": chat.usage.as_json(prices),
        "refused_options": list(chat.refused),
    }
    return Description(bank, summary)


def in_order(class_names: Sequence[str], rows: Sequence[Row], phrasing: str = "default") -> TextBank:
    """A bank whose rows stand by kind, class, rival and prompt, whatever order they came in; equal texts once."""
    place = {name: number for number, name in enumerate(class_names)}

    def key(row: Row) -> tuple[int, int, int, str]:
        rival = place[row.rival] if row.kind == ONE_VS_ONE else -1
        return BANK_KINDS.index(row.kind), place.get(row.class_name, -1), rival, row.prompt_hash

    return TextBank.gather(class_names, sorted(rows, key=key), phrasing=phrasing)


def merge_parts(banks: Sequence[TextBank]) -> TextBank:
    """The banks of several parts as one run would have made them; banks of other kinds may be among them.

    Raises:
        UsageError: there is none.
        DataError: they are of different classes, or of different wordings of attributes.
    """
    if not banks:
        raise UsageError("there is no bank to merge: give at least one.")
    names = banks[0].class_names
    if any(bank.class_names != names for bank in banks):
        raise DataError("the banks to merge are of different classes: make them from the same class names.")
    said = {bank.phrasing for bank in banks if "attribute" in bank.counts}
    if len(said) > 1:
        raise DataError(
            f"the banks to merge say attributes in different ways ({', '.join(sorted(said))}): merge those of one kind."
        )
    phrasing = min(said or {bank.phrasing for bank in banks})
    return in_order(names, [row for bank in banks for row in bank.rows], phrasing)


def summarise(
    bank: TextBank, dropped: Counter[str] | None = None, *, asked: Sequence[str] | None = None
) -> dict[str, Any]:
    """Rows by kind, what was dropped by reason, and classes without any text: of those asked about, or of all."""
    found = Counter(bank.dropped) + (dropped or Counter())
    spoken_of = {row.class_name for row in bank.rows}
    return {
        "classes": len(bank.class_names),
        "rows": dict(bank.counts),
        "dropped": dict(sorted(found.items())),
        "classes_without_text": [n for n in (bank.class_names if asked is None else asked) if n not in spoken_of],
    }


def _check_able(produced: Mapping[int, Produced]) -> None:
    """Stop before a model that can't answer has been paid for everything."""
    if len(produced) >= _GIVE_UP and all(result.wrong is not None for result in produced.values()):
        raise _unable(next(iter(produced.values())).wrong or "", len(produced))


def _unable(complaint: str, requests: int) -> DataError:
    return DataError(
        f"none of {requests} requests had a usable answer ({complaint.rstrip('.')}): try a larger model, one that "
        "follows instructions, or more --max-tokens."
    )
