"""Soft prompts through an endpoint: what was asked before comes from the cache, the rest in few large requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from clipwright.backbones.endpoint_access import require
from clipwright.backbones.endpoint_client import EndpointClient, array_of, handle_bytes, places
from clipwright.core.errors import DataError, NeedsError
from clipwright.task import Access, Spent

_HANDLE = 32  # bytes of a handle
_OTHERS = 4096  # bytes of a body that are no array


class RemotePrompts:
    """A served backbone as a black box, asked about the classes of one task.

    Every prompt's answer is kept by itself, by the prompt, the class names and the images: asked again, in whatever
    company, it costs nothing. A prompt that is given twice is asked once.

    Attributes:
        access: what the endpoint grants.
        spent: what its answers have cost; `cached` counts prompts (and parts of the images) that cost nothing.

    Args:
        client: to the endpoint.
        names: C class names as prompts say them.

    Raises:
        NeedsError: the endpoint takes no soft prompts.
    """

    def __init__(self, client: EndpointClient, names: Sequence[str]) -> None:
        require(client.spec, client.info.access, Access.SOFT_PROMPT)
        if len(names) > client.info.limits["texts"]:
            raise NeedsError(
                f"{client.spec} encodes at most {client.info.limits['texts']} texts in one request, and there are "
                f"{len(names)} classes: have it served with a larger --max-batch."
            )
        self.access = client.info.access
        self.spent = Spent()
        self.names = tuple(names)
        self._client = client

    @property
    def width(self) -> int:
        """d, width of the token embeddings."""
        return self._client.info.width or 0

    def context(self, words: str) -> torch.Tensor:
        """(m, d) float32 token embeddings of some words."""
        client, shape = self._client, (-1, self.width)
        key = client.key("/embed/words", words)
        found = client.known(key, shape)
        if found is None:
            found = client.ask("/embed/words", {"words": words}, lambda v: array_of(v, "context", shape), self.spent)
            client.keep(key, found)
        else:
            client.count([self.spent], cached=1)
        return torch.from_numpy(found)

    def prompt_features(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) raw float32 text features of all classes under P contexts (P, m, d).

        Raises:
            NeedsError: the endpoint doesn't grant features.
            DataError: the contexts have another shape, or hold NaN.
            HttpError: the endpoint can't be asked.
        """
        require(self._client.spec, self.access, Access.SOFT_PROMPT, Access.FEATURES)
        question = _Question(self, contexts, route="/embed/prompts", field="features", last=self._client.info.dim)
        return torch.from_numpy(question.answered())

    def prompt_scores(self, contexts: torch.Tensor, handles: Sequence[str]) -> torch.Tensor:
        """(P, n, C) float32 class scores, logit scale times cosine, of n images under P contexts (P, m, d).

        Raises:
            NeedsError: the endpoint doesn't grant scores.
            DataError: the contexts have another shape, or hold NaN.
            BackboneError: the endpoint doesn't know the images.
            HttpError: the endpoint can't be asked.
        """
        require(self._client.spec, self.access, Access.SOFT_PROMPT, Access.SCORES)
        if not handles:
            return torch.zeros(len(contexts), 0, len(self.names))
        place = places(handles)
        question = _Question(self, contexts, route="/scores", field="scores", last=len(self.names), handles=list(place))
        return torch.from_numpy(question.answered()[:, [place[handle] for handle in handles]])


class _Question:
    """P prompts, and perhaps n images, asked in requests that keep to the limits.

    Images are cut into chunks that depend on the limits and the number of classes alone, so that a run that goes on
    finds the answers of the one before.
    """

    def __init__(
        self,
        box: RemotePrompts,
        contexts: torch.Tensor,
        *,
        route: str,
        field: str,
        last: int,
        handles: Sequence[str] | None = None,
    ) -> None:
        self.box, self.client = box, box._client
        self.route, self.field, self.handles = route, field, handles
        self.contexts = _checked(contexts, box.width)
        limits, classes = self.client.info.limits, len(box.names)
        middle = classes if handles is None else len(handles)
        self.array = np.empty((len(contexts), middle, last), np.float32)
        room = limits["bytes"] - _OTHERS
        most = max(1, min(limits["handles"], room // (4 * classes), room // (4 * _HANDLE)))
        step = middle if handles is None else most
        self.chunks = [slice(start, min(start + step, middle)) for start in range(0, middle, step)]
        self.rows: dict[str, list[int]] = {}  # places of each prompt, by its digest
        for place, context in enumerate(self.contexts):
            self.rows.setdefault(self.client.key("context", context.tobytes()), []).append(place)
        self.names = self.client.key("names", list(box.names))
        self.images = {c.start: self.client.key("images", list((handles or ())[c])) for c in self.chunks}
        self.paid: set[str] = set()  # prompts that the server answered

    def answered(self) -> np.ndarray:
        """(P, n or C, C or D) answers, the cache's first."""
        by_chunk = [self._jobs(chunk, self._missing(chunk)) for chunk in self.chunks]
        # All images under some prompts, then the next prompts: a server computes the texts of the last few once.
        jobs = [job for group in zip_longest(*by_chunk) for job in group if job is not None]
        try:
            self.client.all(jobs)
        finally:
            paid = len(self.paid)
            self.client.count([self.box.spent], prompts=paid, texts=paid * len(self.box.names))
        return self.array

    def _key(self, prompt: str, chunk: slice) -> str:
        return self.client.key(self.route, self.names, prompt, self.images[chunk.start])

    def _missing(self, chunk: slice) -> list[str]:
        """Prompts without an answer for a chunk; the answers that there are, are filled in."""
        missing = []
        for prompt, rows in self.rows.items():
            found = self.client.known(self._key(prompt, chunk), self.array[0, chunk].shape)
            if found is None:
                missing.append(prompt)
            else:
                self.array[rows, chunk] = found
        self.client.count([self.box.spent], cached=len(self.rows) - len(missing))
        return missing

    def _jobs(self, chunk: slice, prompts: list[str]) -> list[Callable[[], None]]:
        limits = self.client.info.limits
        answer = 4 * self.array[0, chunk].size
        body = self.contexts[0].nbytes
        names = self.box.names
        others = _OTHERS + 4 * len(names) * max(map(len, names)) + _HANDLE * (chunk.stop - chunk.start)
        room = min(limits["bytes"] // answer, (limits["bytes"] - others) // body)
        step = max(1, min(limits["prompts"], limits["texts"] // len(names), room))
        return [partial(self._ask, chunk, prompts[start : start + step]) for start in range(0, len(prompts), step)]

    def _ask(self, chunk: slice, prompts: list[str]) -> None:
        """One request: some prompts, one chunk."""
        client, shape = self.client, (len(prompts), *self.array[0, chunk].shape)
        firsts = [self.rows[prompt][0] for prompt in prompts]
        values: dict[str, Any] = {"names": list(self.box.names), "contexts": self.contexts[firsts]}
        if self.handles is not None:
            values["handles"] = handle_bytes(self.handles[chunk])

        def question() -> np.ndarray:
            return client.ask(self.route, values, lambda v: array_of(v, self.field, shape), self.box.spent)

        found = client.with_images(question, self.box.spent)
        self.paid.update(prompts)
        for prompt, answer in zip(prompts, found, strict=True):
            client.keep(self._key(prompt, chunk), answer)
            self.array[self.rows[prompt], chunk] = answer
        if self.handles is not None:
            client.count([self.box.spent], scorings=len(prompts) * shape[1])


def _checked(contexts: torch.Tensor, width: int) -> np.ndarray:
    if contexts.ndim != 3 or contexts.shape[2] != width or 0 in contexts.shape:
        raise DataError(f"contexts must be (P, m, {width}); they are {tuple(contexts.shape)}.")
    array: np.ndarray = contexts.detach().to("cpu", torch.float32).contiguous().numpy()
    if not np.isfinite(array).all():
        raise DataError("contexts hold NaN or infinity: choose a smaller step size.")
    return array
