"""Text-to-image pipelines of the `diffusers` library, from a pinned repository or a local folder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from clipwright.core.errors import BackboneError, UsageError
from clipwright.core.hashing import digest_json, sampled_digest
from clipwright.synthetic.generators.base import BLOCKED, Picture, Request

Safety = Literal["drop", "off"]

_PATTERNS = ("*.json", "*.txt", "*.model", "*/*.safetensors")  # not the single-file checkpoints beside them
_IGNORED = ("*non_ema*", "*.onnx*")
_WEIGHTLESS = ("Tokenizer", "Scheduler", "Processor", "Extractor")
_INDEX = "model_index.json"
_FP16 = ".fp16.safetensors"


@dataclass(frozen=True)
class Diffusion:
    """A pipeline that `AutoPipelineForText2Image` knows: safetensors only, and no code from the repository.

    The starting noise of an image, and the noise that a sampler adds, come from its seed alone, made on the processor:
    the same whatever the batch and the device. The last bits of what the network computes may differ between batch
    sizes, devices and dtypes, so batches are always made whole.

    Attributes:
        source: a local folder, or ``OWNER/NAME`` on the hub.
        revision: commit or tag of a repository; needed there, refused for a folder.
        steps: denoising steps (RegFT: 50).
        guidance: classifier-free guidance (RegFT: 5.0).
        size: pixels per side that the model makes.
        negative: what shall not be seen, or nothing.
        dtype: fp32, bf16 or fp16; by default fp16 on a GPU, fp32 elsewhere.
        device: cuda, mps or cpu; by default the best there is.
        safety: ``drop``: an image that the checkpoint's safety checker objects to isn't written, and recorded as
            blocked; a checkpoint without a checker blocks nothing, which the settings say. ``off``: the checker isn't
            loaded.
        batch_size: images made at a time; halved when memory runs out.

    Raises:
        UsageError: a setting out of range, or a repository without a revision.
    """

    source: str
    revision: str | None = None
    steps: int = 50
    guidance: float = 5.0
    size: int = 512
    negative: str = ""
    dtype: str | None = None
    device: str | None = None
    safety: Safety = "drop"
    batch_size: int = 8
    name: str = "diffusers"
    independent: bool = False
    save_size: int = 224

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or self.size < 8 or self.size % 8 or self.guidance < 0:
            raise UsageError(
                "--steps and --batch-size must be positive, --guidance at least 0, --size a positive multiple of 8."
            )
        if self.safety not in {"drop", "off"}:
            raise UsageError(f"--safety must be drop or off; it is {self.safety!r}.")
        if self._path.is_dir():
            if self.revision is not None:
                raise UsageError(f"{self.source} is a folder, which has no --revision: leave it out.")
        elif self.source.startswith((".", "/", "~")) or self.source.count("/") != 1:
            raise UsageError(f"--model {self.source!r} is no folder and no OWNER/NAME of the hub: correct it.")
        elif self.revision is None:
            raise UsageError(
                f"--model {self.source} needs --revision, a commit or tag of that repository, so that the same images "
                "can be made again."
            )

    @property
    def _path(self) -> Path:
        return Path(self.source).expanduser()

    @property
    def model(self) -> str:
        """The repository and its revision, or the folder's name."""
        return f"{self.source}@{self.revision}" if self.revision is not None else self._path.name

    @cached_property
    def folder(self) -> Path:
        """Where the pipeline lies, downloaded if need be.

        Raises:
            BackboneError: it can't be had, or has no safetensors.
        """
        folder = self._path if self._path.is_dir() else self._download()
        if not (folder / _INDEX).is_file():
            raise BackboneError(f"{self.source} has no {_INDEX}: give a pipeline that diffusers saved.")
        if lost := _lacking(folder, self.safety):
            raise BackboneError(
                f"{lost[0]} of {self.source} has no safetensors, and clipwright loads no pickled weights: save it with "
                "safe_serialization=True."
            )
        return folder

    def _download(self) -> Path:
        from huggingface_hub import snapshot_download

        from clipwright.backbones.network import reason, require_hub

        def snapshot(*, offline: bool) -> Path:
            found = snapshot_download(
                self.source,
                revision=self.revision,
                allow_patterns=list(_PATTERNS),
                ignore_patterns=list(_IGNORED),
                local_files_only=offline,
            )
            return Path(found)

        try:
            found = snapshot(offline=True)
            if not _lacking(found, self.safety):
                return found
        except Exception:  # noqa: S110 - not in the cache, or not whole: try the network
            pass
        try:
            require_hub()
            return snapshot(offline=False)
        except Exception as error:  # any of several network libraries' errors
            raise BackboneError(
                f"{self.source} is not on this machine and can't be downloaded ({reason(error)}): copy the "
                "repository's files by other means and give the folder as --model."
            ) from error

    @cached_property
    def _index(self) -> dict[str, Any]:
        return _read_index(self.folder)

    @cached_property
    def _files(self) -> str:
        """What tells one checkpoint from another without reading all of its weights."""
        found = sorted(p for p in self.folder.rglob("*") if p.is_file() and p.suffix in {".json", ".safetensors"})
        return digest_json([[p.relative_to(self.folder).as_posix(), sampled_digest(p)] for p in found])[:16]

    @property
    def has_checker(self) -> bool:
        """Whether the checkpoint brings a safety checker."""
        entry = self._index.get("safety_checker")
        return isinstance(entry, list) and len(entry) == 2 and all(entry)

    def check(self, class_names: Sequence[str]) -> None:
        """Refuse a missing library or checkpoint; nothing is loaded yet."""
        del class_names
        _library()
        _ = self._index

    def prepare(self) -> None:
        """Load the pipeline."""
        _ = self._pipeline

    def settings(self) -> dict[str, Any]:
        """All that decides an image: the pipeline's class, sampler, sizes, and what became of the safety checker."""
        checker = "off" if self.safety == "off" else "on" if self.has_checker else "none in the model"
        scheduler = self._index.get("scheduler")
        return {
            "generator": self.name,
            "model": self.model,
            "pipeline": self._index.get("_class_name"),
            "sampler": scheduler[1] if isinstance(scheduler, list) and len(scheduler) == 2 else None,
            "steps": self.steps,
            "guidance": self.guidance,
            "size": self.size,
            "negative_prompt": self.negative,
            "dtype": self.dtype or "auto",
            "safety_checker": checker,
            "files": self._files,
        }

    @cached_property
    def _pipeline(self) -> Any:
        """The loaded pipeline.

        Raises:
            BackboneError: the weights don't load.
            UsageError: it can't be told what not to show, and was.
        """
        from clipwright.backbones.device import choose_device, choose_dtype
        from clipwright.backbones.network import reason

        device = choose_device(self.device)
        default = "fp16" if device.type == "cuda" else "fp32"
        plain = [p for p in self.folder.rglob("*.safetensors") if not p.name.endswith(_FP16)]
        options: dict[str, Any] = {} if plain else {"variant": "fp16"}
        if "safety_checker" in self._index and self.safety == "off":
            options |= {"safety_checker": None, "requires_safety_checker": False}
        if "StableDiffusionXL" in str(self._index.get("_class_name")):
            options["add_watermarker"] = False
        try:
            pipeline = (
                _library()
                .AutoPipelineForText2Image.from_pretrained(
                    str(self.folder),
                    torch_dtype=choose_dtype(self.dtype or default, device),
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    **options,
                )
                .to(device)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
            raise BackboneError(f"{self.source} doesn't load as a text-to-image pipeline: {reason(error)}.") from error
        pipeline.set_progress_bar_config(disable=True)
        if self.negative and "negative_prompt" not in inspect.signature(pipeline.__call__).parameters:
            raise UsageError(f"{type(pipeline).__name__} takes no negative prompt: leave --negative out.")
        return pipeline

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
        """Run the pipeline, in smaller batches once memory has run out."""
        from clipwright.backbones.device import Batcher

        found: list[tuple[int, Picture]] = []

        def compute(start: int, stop: int) -> None:
            made = self._run(requests[start:stop])
            found.extend((start + i, picture) for i, picture in enumerate(made))

        Batcher().run(compute, len(requests), self.batch_size)
        yield from found

    def _run(self, requests: Sequence[Request]) -> list[Picture]:
        import torch

        pipeline = self._pipeline
        options: dict[str, Any] = {
            "prompt": [request.prompt for request in requests],
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "height": self.size,
            "width": self.size,
        }
        if self.negative:
            options["negative_prompt"] = [self.negative] * len(requests)
        known = inspect.signature(pipeline.__call__).parameters
        output = pipeline(**{key: value for key, value in options.items() if key in known})
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        return [
            Picture(None, BLOCKED) if flag else Picture(image.convert("RGB"))
            for image, flag in zip(output.images, flags, strict=True)
        ]


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder / _INDEX} can't be read: copy it again.") from error
    return value if isinstance(value, dict) else {}


def _lacking(folder: Path, safety: Safety) -> list[str]:
    """Parts of a pipeline that should have weights and have no safetensors; a checker that is off isn't looked at."""
    parts = {
        name: entry[1]
        for name, entry in _read_index(folder).items()
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry)
    }
    weighty = [name for name, kind in parts.items() if not any(word in kind for word in _WEIGHTLESS)]
    if safety == "off":
        weighty = [name for name in weighty if name != "safety_checker"]
    return [name for name in weighty if not any((folder / name).glob("*.safetensors"))]


def _library() -> Any:
    """The library, which from then on says only what is wrong."""
    try:
        import diffusers
        import transformers
    except ImportError as error:
        raise BackboneError(
            "--generator diffusers needs the packages diffusers and transformers: pip install 'clipwright[generate]'."
        ) from error
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return diffusers
