"""Questions about many images or texts, asked a part at a time; parts that were answered before cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from clipwright.backbones.endpoint_client import EndpointClient, array_of, places
from clipwright.core.http import UnusableAnswer


@dataclass(frozen=True)
class Question:
    """What is asked about each part.

    Attributes:
        route: where.
        fields: makes the fields of a request of a part.
        field: of the answer.
        shape: of one item's answer, such as (D,).
        asked: what the answer depends on besides the part, for its key.
        lead: sizes before the items in the answer: (1,) for scores, which come per prompt.
        dtype: of the answer.
        below: answers are whole numbers from 0 to below this, or None.
        images: whether the items are handles, which a restarted server may have forgotten.
        costs: what one item costs, by the names of `clipwright.task.Spent`.
        once: what one request costs besides.
    """

    route: str
    fields: Callable[[list[str]], dict[str, Any]]
    field: str
    shape: tuple[int, ...]
    asked: tuple[Any, ...] = ()
    lead: tuple[int, ...] = ()
    dtype: Any = np.float32
    below: int | None = None
    images: bool = False
    costs: tuple[str, ...] = ()
    once: tuple[tuple[str, int], ...] = ()


def ask_in_parts(client: EndpointClient, question: Question, items: Sequence[str], step: int) -> np.ndarray:
    """(n, *shape) answers about n items, each different one asked once, in an order that tells nothing.

    Args:
        client: to the endpoint.
        question: what is asked.
        items: handles or texts.
        step: items in one request, at most.

    Raises:
        HttpError: the endpoint can't be asked; what it answered so far is kept.
    """
    place = places(items)
    unique = list(place)
    found = np.zeros((len(unique), *question.shape), question.dtype)
    parts = [slice(start, start + step) for start in range(0, len(unique), step)]
    jobs = [partial(_fill, client, question, unique[part], found[part]) for part in parts]
    if jobs:
        client.all(jobs)
    return found[[place[item] for item in items]]


def _fill(client: EndpointClient, question: Question, part: list[str], out: np.ndarray) -> None:
    kind = np.dtype(question.dtype).newbyteorder("<").str
    key = client.key(question.route, *question.asked, part)
    known = client.known(key, out.shape, kind)
    if known is not None:
        client.count((), cached=1)
        out[:] = known
        return
    values = question.fields(part)
    shape = (*question.lead, *out.shape)

    def ask() -> np.ndarray:
        return client.ask(question.route, values, partial(_read, question, shape))

    answer = client.with_images(ask) if question.images else ask()
    out[:] = answer.reshape(out.shape)
    client.keep(key, out, kind)
    client.count((), **{name: len(part) for name in question.costs}, **dict(question.once))


def _read(question: Question, shape: tuple[int, ...], values: dict[str, Any]) -> np.ndarray:
    found = array_of(values, question.field, shape, question.dtype)
    if question.below is not None and not ((found >= 0) & (found < question.below)).all():
        raise UnusableAnswer(f"names classes in {question.field} that there are not", tries=2)
    return found
