"""What an endpoint says of itself, from a stranger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipwright.backbones.agreement import FORMAT
from clipwright.backbones.preprocess import Preprocess
from clipwright.core.errors import FormatError
from clipwright.task import Access

_MOST_DIM = 1 << 16
_LIMITS = ("images", "handles", "prompts", "texts", "bytes")


@dataclass(frozen=True)
class EndpointInfo:
    """The answer of ``GET /info``.

    Attributes:
        spec: the model behind the endpoint, as its server names it.
        digest: of that model.
        access: what may be asked.
        dim: D.
        dtype: what it computes in.
        logit_scale: what multiplies cosines.
        preprocess: from a decoded image to the pixels that are sent.
        width: d of soft prompts, or None where there are none.
        limits: what one request may hold, by name: images, handles, prompts, texts, bytes.
    """

    spec: str
    digest: str
    access: frozenset[Access]
    dim: int
    dtype: str
    logit_scale: float
    preprocess: Preprocess
    width: int | None
    limits: Mapping[str, int]

    @classmethod
    def from_json(cls, address: str, values: Mapping[str, Any]) -> EndpointInfo:
        """Read and check it.

        Raises:
            FormatError: it is of a newer clipwright, or of something else.
        """
        version = values.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise FormatError(f"{address} speaks format {version}, newer than {FORMAT} here: update clipwright.")
        try:
            if version != FORMAT:
                raise ValueError("no format")
            context = values["context"]
            info = cls(
                spec=str(values["spec"]),
                digest=str(values["digest"]),
                access=frozenset(Access(name) for name in values["access"] if name in set(Access)),
                dim=_positive(values["dim"], _MOST_DIM),
                dtype=str(values["dtype"]),
                logit_scale=float(values["logit_scale"]),
                preprocess=Preprocess.from_json(dict(values["preprocess"])),
                width=None if context is None else _positive(context["width"], _MOST_DIM),
                limits={name: _positive(values["limits"][name]) for name in _LIMITS},
            )
            if not re.fullmatch(r"[0-9a-zA-Z._-]{1,128}", info.digest) or not 0 < info.logit_scale < 1e6:
                raise ValueError("digest or scale")
            _positive(info.preprocess.size[0], _MOST_DIM), _positive(info.preprocess.size[1], _MOST_DIM)
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise FormatError(
                f"{address} answers, but not as a served backbone does: give the address that 'clipwright serve' "
                "printed."
            ) from error
        return info


def _positive(value: Any, most: int = 1 << 62) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"{value!r} is no positive number")
    return value
