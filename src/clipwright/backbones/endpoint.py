"""``endpoint:http://HOST:PORT``: a backbone that somebody else serves."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from clipwright.backbones.agreement import TOKEN_VARIABLE, handle_of
from clipwright.backbones.base import Backbone, BackboneRef, ImageFeatures
from clipwright.backbones.digests import decoder
from clipwright.backbones.endpoint_access import require
from clipwright.backbones.endpoint_client import EndpointClient, handle_bytes
from clipwright.backbones.endpoint_info import EndpointInfo
from clipwright.backbones.endpoint_parts import Question, ask_in_parts
from clipwright.backbones.endpoint_prompts import RemotePrompts
from clipwright.backbones.identifiers import Identifier
from clipwright.core.addresses import check_address
from clipwright.core.backoff import Patience
from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.http import HttpClient
from clipwright.task import Access

GIVE_UP_VARIABLE = "CLIPWRIGHT_GIVE_UP"
"""Environment variable: seconds after which a request that keeps failing is given up, 600 by default."""

DEFAULT_TEMPLATE = "a photo of a {}."


class EndpointRef(BackboneRef):
    """A named endpoint; it is asked for nothing until its digest, its preprocessing or its answers are wanted.

    Attributes:
        spec: ``endpoint:`` and the address.
        identifier: the same, parsed.
        device: where pixels and answers are, the CPU.
    """

    def __init__(self, identifier: Identifier, *, patience: Patience | None = None, connections: int = 4) -> None:
        self.identifier = identifier
        self.spec = str(identifier)
        self.device = torch.device("cpu")
        self._patience, self._connections = patience, connections

    @cached_property
    def client(self) -> EndpointClient:
        """Connections to the endpoint, with the token of CLIPWRIGHT_TOKEN."""
        token = os.environ.get(TOKEN_VARIABLE)
        address = check_address(self.identifier.name)
        if token and not address.secure and not address.local:
            warnings.warn(
                f"{self.spec} is no https address, so the token of {TOKEN_VARIABLE} travels readable for all: use "
                "https.",
                UserWarning,
                stacklevel=3,
            )
        http = HttpClient(
            self.identifier.name,
            token=token,
            patience=self._patience or _patience(),
            connections=self._connections,
        )
        return EndpointClient(http, connections=self._connections)

    @property
    def preprocess(self) -> Any:
        """From a decoded image to the pixels that are sent."""
        return self.client.info.preprocess

    @cached_property
    def digest(self) -> str:
        """Of the served model and of what decodes images here."""
        return digest_json({"endpoint": self.client.info.digest, "decoder": decoder()})

    def load(self) -> EndpointBackbone:
        """The backbone; nothing is loaded here."""
        return self._backbone

    @cached_property
    def _backbone(self) -> EndpointBackbone:
        return EndpointBackbone(self.spec, self.digest, self.client)

    def describe(self) -> dict[str, Any]:
        """JSON for reports and saved classifiers."""
        info = self.client.info
        return {
            "spec": self.spec,
            "digest": self.digest,
            "dtype": info.dtype,
            "preprocess": info.preprocess.as_json(),
            "decoder": decoder(),
            "files": {"endpoint": info.digest},
            "served": info.spec,
            "access": sorted(info.access),
        }


class EndpointBackbone(Backbone):
    """A served model: what it grants is asked over HTTP, every answer is kept, and nothing is asked twice.

    Attributes:
        client: connections, limits and what was spent.
    """

    def __init__(self, spec: str, digest: str, client: EndpointClient) -> None:
        info = client.info
        self.client = client
        self.spec, self.digest = spec, digest
        self.preprocess = info.preprocess
        self.dim, self.pre_projection_dim = info.dim, None
        self.projection = self.projection_bias = None
        self.logit_scale = info.logit_scale
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.access = info.access
        self.spent = client.spent

    @property
    def info(self) -> EndpointInfo:
        """What the endpoint says of itself."""
        return self.client.info

    def upload(self, pixels: torch.Tensor | np.ndarray) -> list[str]:
        """Send (b, 3, H, W) uint8 pixels, made by `preprocess`, unless the server has them already.

        Within a call they are sent in an order that tells nothing; several calls, class after class, would tell a
        server which images belong together: `keep` all images first, then `send` them.

        Returns:
            b handles: what `scores` and soft prompts name the images by. Equal pixels have equal handles.

        Raises:
            DataError: the pixels have another shape or type.
            HttpError: the endpoint can't be asked.
        """
        handles = self.keep(pixels)
        self.send(handles)
        return handles

    def keep(self, pixels: torch.Tensor | np.ndarray) -> list[str]:
        """Keep pixels here until `send`, and until the end of the process, in case the server forgets them.

        Raises:
            DataError: the pixels have another shape or type.
        """
        array = self._checked(pixels)
        handles = [handle_of(image) for image in array]
        self.client.outbox.keep(handles, array)
        return handles

    def send(self, handles: Sequence[str]) -> None:
        """Send images that were kept, those that the server has already left out, in the order of their handles.

        Raises:
            HttpError: the endpoint can't be asked.
        """
        self.client.upload(handles)

    def images(self, pixels: torch.Tensor) -> ImageFeatures:
        """Features of (b, 3, H, W) uint8 pixels, already resized and cropped by `preprocess`.

        Raises:
            NeedsError: the endpoint doesn't grant features.
        """
        require(self.spec, self.access, Access.FEATURES)
        handles = self.upload(pixels)
        question = Question("/embed/images", _handles, "features", (self.dim,), images=True)
        return ImageFeatures(torch.from_numpy(ask_in_parts(self.client, question, handles, self.info.limits["images"])))

    def texts(self, texts: Sequence[str], *, batch_size: int = 256) -> torch.Tensor:
        """(T, D) raw float32 features of T texts, in the order given.

        Raises:
            NeedsError: the endpoint doesn't grant features.
        """
        require(self.spec, self.access, Access.FEATURES)
        step = min(batch_size, self.info.limits["texts"])
        question = Question("/embed/texts", lambda part: {"texts": part}, "features", (self.dim,), costs=("texts",))
        return torch.from_numpy(ask_in_parts(self.client, question, texts, step))

    def scores(
        self, handles: Sequence[str], names: Sequence[str], templates: Sequence[str] = (DEFAULT_TEMPLATE,)
    ) -> torch.Tensor:
        """(n, C) float32 class scores, logit scale times cosine, of n images that were uploaded.

        Args:
            handles: as `upload` returned them.
            names: C class names as prompts say them.
            templates: sentences with one ``{}``; the unit features of several are averaged.

        Raises:
            NeedsError: the endpoint doesn't grant scores.
            BackboneError: the endpoint doesn't know the images.
        """
        require(self.spec, self.access, Access.SCORES)
        question = self._about_classes("/scores", "scores", names, templates)
        return torch.from_numpy(ask_in_parts(self.client, question, handles, self._step(len(names))))

    def labels(
        self, handles: Sequence[str], names: Sequence[str], templates: Sequence[str] = (DEFAULT_TEMPLATE,)
    ) -> torch.Tensor:
        """(n,) int64 index of the best class of n images; arguments as in `scores`.

        Raises:
            NeedsError: the endpoint doesn't grant labels.
            BackboneError: the endpoint doesn't know the images, or an answer is no class.
        """
        require(self.spec, self.access, Access.LABELS)
        question = self._about_classes("/labels", "labels", names, templates)
        question = replace(question, shape=(), dtype=np.int64, below=len(names))
        return torch.from_numpy(ask_in_parts(self.client, question, handles, self._step(len(names))))

    def soft_prompts(self, names: Sequence[str]) -> RemotePrompts:
        """The endpoint as a black box that is asked about classes under prompts given as token embeddings.

        Raises:
            NeedsError: the endpoint takes no soft prompts.
        """
        return RemotePrompts(self.client, names)

    def _about_classes(self, route: str, field: str, names: Sequence[str], templates: Sequence[str]) -> Question:
        said: dict[str, Any] = {"names": list(names), "templates": list(templates)}
        return Question(
            route,
            lambda part: {**_handles(part), **said},
            field,
            (len(names),),
            asked=(said,),
            lead=(1,),
            images=True,
            costs=("scorings",),
            once=(("texts", len(names) * len(templates)),),
        )

    def _step(self, classes: int) -> int:
        """Images whose scores fit into one answer."""
        limits = self.info.limits
        return max(1, min(limits["handles"], limits["bytes"] // (8 * max(1, classes))))

    def _checked(self, pixels: torch.Tensor | np.ndarray) -> np.ndarray:
        array = pixels.cpu().numpy() if isinstance(pixels, torch.Tensor) else pixels
        wanted = (3, *self.preprocess.size)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != wanted:
            raise DataError(
                f"pixels must be uint8 of shape (n, {', '.join(map(str, wanted))}); they are {array.dtype} of shape "
                f"{array.shape}: make them with the backbone's preprocess."
            )
        return array


def _handles(part: list[str]) -> dict[str, Any]:
    return {"handles": handle_bytes(part)}


def _patience() -> Patience:
    """How long failing requests are tried again: as CLIPWRIGHT_GIVE_UP says.

    Raises:
        UsageError: it is no number of seconds.
    """
    text = os.environ.get(GIVE_UP_VARIABLE)
    if not text:
        return Patience()
    try:
        seconds = float(text)
        if not 0 <= seconds < float("inf"):
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(f"{GIVE_UP_VARIABLE} must be a number of seconds; it is {text!r}.") from error
    return Patience(total=seconds, read=max(Patience.read, seconds / 4))
