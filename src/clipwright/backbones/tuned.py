"""A backbone whose image tower a fit has changed: the base it was made from, and the change."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.preprocess import Preprocess
from clipwright.backbones.references import ModelRef
from clipwright.backbones.saving import FORMAT, NOTE_FILE, TUNED
from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import BackboneError, DataError, FormatError
from clipwright.core.hashing import digest_json
from clipwright.task import TowerUpdate

if TYPE_CHECKING:
    import torch

PREFIX = "tower."
"""What the names of an update have before those of the tower's own state."""


class TunedRef(BackboneRef):
    """A base backbone with a changed image tower; texts, preprocessing and logit scale are the base's.

    Args:
        base: the backbone that was changed.
        update: what was changed.
        spec: how it is called; made of the base's name where it isn't saved.

    Raises:
        BackboneError: the base has no weights at hand.
    """

    def __init__(self, base: BackboneRef, update: TowerUpdate, *, spec: str | None = None) -> None:
        if not isinstance(base, ModelRef | TunedRef):
            raise BackboneError(f"{base.spec} has no weights at hand, so its tower can't be changed.")
        self.base, self.update = base, update
        self.spec = spec or f"{base.spec}+{update.digest[:12]}"
        self._loaded: Backbone | None = None
        self._lock = threading.Lock()

    @property
    def device(self) -> torch.device:
        """Where it will run."""
        return self.base.device

    @property
    def preprocess(self) -> Preprocess:
        """The base's."""
        return self.base.preprocess

    @property
    def digest(self) -> str:
        """Hash of the base's digest and the change."""
        return digest_json(["tuned", self.base.digest, self.update.digest])

    def build(self) -> TowerBackbone:
        """A base of its own, changed.

        Raises:
            BackboneError: the change is one of another model.
        """
        backbone = self.base.build()
        assert isinstance(backbone, TowerBackbone)  # noqa: S101 - what models in this process are
        state = {PREFIX + name: tensor for name, tensor in backbone.image_tower.module.state_dict().items()}
        try:
            self.update.apply(state)
        except DataError as error:
            raise BackboneError(f"{self.spec} can't be made from {self.base.spec}: {error}") from error
        backbone.spec, backbone.digest = self.spec, self.digest
        return backbone

    def load(self) -> Backbone:
        """Load the base and change it, once; later calls return the same object."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self.build()
            return self._loaded

    def describe(self) -> dict[str, Any]:
        """JSON for reports and saved classifiers: the base's, with the change among its files."""
        base = self.base.describe()
        files = {**base["files"], "tower": self.update.digest}
        return {**base, "spec": self.spec, "digest": self.digest, "base": self.base.spec, "files": files}


def save_tuned(folder: Path, update: TowerUpdate, base: Mapping[str, Any]) -> Path:
    """Write a changed tower as a folder that ``folder:/path`` opens; the note is replaced last.

    Args:
        folder: made if need be.
        update: what was changed.
        base: `BackboneRef.describe` of the backbone that was changed.

    Returns:
        path of the file of tensors.
    """
    from safetensors.torch import save

    path = folder / f"tower-{update.digest[:12]}.safetensors"
    write_bytes(path, save(update.flat()))  # even where it is there: it may be damaged
    note = {"format": FORMAT, "library": TUNED, "base": dict(base), "base_digest": update.base_digest}
    write_json(folder / NOTE_FILE, {**note, "tower": path.name, "update": update.digest})
    return path


def load_update(folder: Path, name: str | None = None, digest: str | None = None) -> TowerUpdate:
    """The change that `save_tuned` wrote.

    Args:
        folder: where it lies.
        name: the file of tensors; the note's when left out.
        digest: what the change must be; the note's when left out.

    Raises:
        FormatError: damaged, or not what the note says.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    note = tuned_note(folder)
    name, digest = name or str(note["tower"]), digest or str(note["update"])
    if Path(name).name != name:
        raise FormatError(f"{folder / NOTE_FILE} points outside its folder: don't use it.")
    try:
        parts = load((folder / name).read_bytes())
        update = TowerUpdate.from_flat(str(note["base"]["spec"]), str(note["base_digest"]), parts)
    except (OSError, SafetensorError, KeyError, DataError) as error:
        raise FormatError(f"the changed tower in {folder} is damaged: copy or fit it again.") from error
    if update.digest != digest:
        raise FormatError(f"{folder / name} is damaged (its hash differs): copy or fit it again.")
    return update


def tuned_note(folder: Path) -> dict[str, Any]:
    """What the note of a changed tower says.

    Raises:
        FormatError: it is damaged.
    """
    try:
        note = json.loads((folder / NOTE_FILE).read_text(encoding="utf-8"))
        _ = note["base"]["spec"], note["tower"], note["update"], note["base_digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{folder / NOTE_FILE} is damaged: copy or fit the classifier again.") from error
    return dict(note)


def open_tuned(folder: Path, *, device: str | None = None, dtype: str | None = None) -> TunedRef:
    """The backbone of a folder that `save_tuned` wrote, its base found and checked to be the same.

    Raises:
        BackboneError: the base can't be had, or has other weights than when it was changed.
        FormatError: the folder is damaged.
    """
    from clipwright.backbones.resolving import resolve

    note = tuned_note(folder)
    base = resolve(str(note["base"]["spec"]), device=device, dtype=dtype)
    for part, what in (("files", "weights"), ("preprocess", "preprocessing")):
        if json.loads(json.dumps(base.describe().get(part))) != note["base"].get(part):
            raise BackboneError(
                f"folder:{folder} was made from other {what} of {base.spec} than those found here: "
                "point at the original ones, or fit again."
            )
    return TunedRef(base, load_update(folder), spec=f"folder:{folder}")
