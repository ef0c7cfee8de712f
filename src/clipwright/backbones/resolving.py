"""From a backbone's name to a reference that loads nothing until it is asked to."""

from __future__ import annotations

from clipwright.backbones.base import BackboneRef
from clipwright.backbones.hf import HuggingFaceRef
from clipwright.backbones.identifiers import DEFAULT, Identifier, parse
from clipwright.backbones.openclip import FolderRef, OpenClipRef, TinyRef
from clipwright.backbones.references import ModelRef
from clipwright.backbones.saving import NOTE_FILE, TUNED, saved_library
from clipwright.backbones.timm_images import TimmRef
from clipwright.backbones.tuned import open_tuned
from clipwright.core.errors import BackboneError

_KINDS: dict[str, type[ModelRef]] = {"openclip": OpenClipRef, "hf": HuggingFaceRef, "timm": TimmRef, "tiny": TinyRef}


def resolve(spec: str = DEFAULT, *, device: str | None = None, dtype: str | None = None) -> BackboneRef:
    """Make the reference of a backbone.

    Args:
        spec: ``openclip:ARCHITECTURE@TAG``, ``openclip:ARCHITECTURE@/path/to/weights.safetensors``,
            ``hf:OWNER/NAME@REVISION``, ``hf:/path/to/folder``, ``folder:/path/to/folder``, ``endpoint:http://HOST:PORT``
            or ``tiny``; for images alone ``timm:NAME.TAG`` or ``timm:NAME@/path/to/weights.safetensors``.
        device: cuda, cuda:N, mps or cpu; None takes the best there is.
        dtype: fp32, bf16 or fp16; None takes bf16 on a GPU and fp32 elsewhere.

    Raises:
        UsageError: the name has none of these forms, or there is no such device or dtype.
    """
    identifier = parse(spec)
    if identifier.kind == "endpoint":  # device and dtype are its server's business
        from clipwright.backbones.endpoint import EndpointRef

        return EndpointRef(identifier)
    kind = _KINDS.get(identifier.kind)
    if kind is None:
        return _folder(identifier, device=device, dtype=dtype)
    return kind(identifier, device=device, dtype=dtype)


def _folder(identifier: Identifier, *, device: str | None, dtype: str | None) -> BackboneRef:
    """What a folder holds: a model of one of the libraries, or a changed tower, perhaps that of a classifier."""
    assert identifier.path is not None  # noqa: S101 - a folder is a path
    folder = identifier.path
    if (folder / "classifier.json").is_file():
        if not (folder / "tower" / NOTE_FILE).is_file():
            raise BackboneError(
                f"{folder} is a classifier that left its backbone as it was: name the backbone that it was fitted on."
            )
        folder = folder / "tower"
    library = saved_library(folder)
    if library == TUNED:
        return open_tuned(folder, device=device, dtype=dtype)
    kind = HuggingFaceRef if library == "transformers" else FolderRef
    return kind(identifier, device=device, dtype=dtype)
