"""Captions by a local multimodal model of the `transformers` library, in batches."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from clipwright.backbones.device import DTYPES, Batcher, choose_device, choose_dtype, dtype_name
from clipwright.core.errors import BackboneError, UsageError
from clipwright.core.hashing import digest_json, sampled_digest
from clipwright.engine import cpu_count
from clipwright.engine.pool import ordered
from clipwright.synthetic.captioners.base import MAX_TOKENS, Finished, Job, Said
from clipwright.synthetic.captioners.llava import THUMBNAIL_TYPES, single_tile, transformers_library
from clipwright.synthetic.captioners.repository import model_config, model_folder, repository_name
from clipwright.synthetic.collage import THUMBNAIL

QUANTISED = ("4bit", "8bit")
_AHEAD = 2  # batches that are decoded while one is captioned
_MOST_READERS = 8


@dataclass(frozen=True)
class LocalCaptioner:
    """A model that `AutoModelForImageTextToText` knows: safetensors only, and no code from the repository.

    Prompts are padded on the left, so that the rows of a batch end where their answers begin; greedy, so that a caption
    follows from the picture and the prompt. In half precision the last bits may differ with the size of the batch.

    In the ``thumbnail`` view a LLaVA-NeXT (LLaVA 1.6) runs as the single-tile model that LatteCLIP's captioner in fact
    was: the squashed picture and nothing else; see `clipwright.synthetic.captioners.llava`.

    Attributes:
        source: a local folder, or ``OWNER/NAME`` on the hub.
        revision: commit or tag of a repository; needed there, refused for a folder.
        dtype: fp32, bf16, fp16, ``4bit`` (NF4, double quantisation) or ``8bit``; by default bf16 on a GPU, else fp32.
        device: cuda, mps or cpu; by default the best there is.
        batch_size: captions written at a time; halved when memory runs out.
        max_tokens: new tokens of a caption.
        view: ``thumbnail`` or ``anyres``: how pictures will be shown.

    Raises:
        UsageError: a setting out of range, or a repository without a revision.
    """

    source: str
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    batch_size: int = 16
    max_tokens: int = MAX_TOKENS
    view: str = "thumbnail"
    name: str = "transformers"
    asks: bool = True
    _batcher: Batcher = field(default_factory=Batcher, repr=False, compare=False)

    def __post_init__(self) -> None:
        if min(self.batch_size, self.max_tokens) < 1:
            raise UsageError("--batch-size and --max-tokens must be positive.")
        if self.dtype not in {None, "auto", *DTYPES, *QUANTISED}:
            raise UsageError(f"there is no dtype {self.dtype!r}: choose fp32, bf16, fp16, 4bit or 8bit.")
        if self.dtype in QUANTISED and find_spec("bitsandbytes") is None:
            raise BackboneError(f"--dtype {self.dtype} needs the package bitsandbytes: pip install bitsandbytes.")
        repository_name(self.source, self.revision)

    @property
    def model(self) -> str:
        """The repository and its revision, or the folder's name."""
        return repository_name(self.source, self.revision)

    @cached_property
    def folder(self) -> Path:
        """Where the model lies, downloaded if need be.

        Raises:
            BackboneError: it can't be had, or has no safetensors.
        """
        return model_folder(self.source, self.revision)

    @cached_property
    def _config(self) -> dict[str, Any]:
        return model_config(self.folder)

    @property
    def side(self) -> int:
        """Pixels per side that the model's image tower takes, where it says so."""
        vision = self._config.get("vision_config")
        found = vision.get("image_size") if isinstance(vision, dict) else None
        return found if isinstance(found, int) and found > 0 else THUMBNAIL

    @property
    def _is_single_tile(self) -> bool:
        return self.view == "thumbnail" and self._config.get("model_type") in THUMBNAIL_TYPES

    @cached_property
    def _files(self) -> list[tuple[str, str]]:
        """Name and digest of each file that decides a caption."""
        kinds = {".safetensors", ".json", ".jinja", ".txt", ".model"}
        return sorted((p.name, sampled_digest(p)) for p in self.folder.iterdir() if p.suffix in kinds)

    def settings(self) -> dict[str, Any]:
        """Model, its files, precision, decoding."""
        stats = self._files
        return {
            "captioner": self.name,
            "model": self.model,
            "type": self._config.get("model_type"),
            "single_tile": self._is_single_tile,
            "files": digest_json([self._config, [list(entry) for entry in stats]])[:16],
            "dtype": self.dtype if self.dtype in QUANTISED else dtype_name(self._computes_in),
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
        }

    @cached_property
    def _device(self) -> Any:
        return choose_device(self.device)

    @property
    def _computes_in(self) -> Any:
        return choose_dtype(None if self.dtype in QUANTISED else self.dtype, self._device)

    def prepare(self) -> None:
        """Load the model."""
        _ = self._loaded

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model, in eval mode on its device, and its processor, which pads on the left.

        Raises:
            BackboneError: they don't load.
        """
        from clipwright.backbones.network import reason

        library = transformers_library()
        safe = {"local_files_only": True, "trust_remote_code": False}
        options: dict[str, Any] = {"use_safetensors": True, "dtype": self._computes_in, **safe}
        if self.dtype in QUANTISED:
            options |= {"quantization_config": self._quantisation(library), "device_map": {"": self._device}}
        try:
            if self._is_single_tile:
                model, processor = single_tile(library, self.folder, self.side, options, safe)
            else:
                model = library.AutoModelForImageTextToText.from_pretrained(self.folder, **options)
                processor = library.AutoProcessor.from_pretrained(self.folder, **safe)
            processor.tokenizer.padding_side = "left"
            if processor.tokenizer.pad_token is None:
                processor.tokenizer.pad_token = processor.tokenizer.eos_token
        except Exception as error:  # transformers raises many kinds
            raise BackboneError(
                f"{self.source} doesn't load as a model of images and text ({reason(error)}): check that the folder is "
                "whole."
            ) from error
        if self.dtype not in QUANTISED:
            model = model.to(self._device)
        return model.eval(), processor

    def _quantisation(self, library: Any) -> Any:
        if self.dtype == "8bit":
            return library.BitsAndBytesConfig(load_in_8bit=True)
        return library.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=self._computes_in,
        )

    def caption(self, jobs: Sequence[Job]) -> Generator[Finished, None, None]:
        """Write captions batch by batch, in smaller ones once memory has run out; threads decode ahead."""
        readers = min(cpu_count(), _MOST_READERS)
        pictures = ordered(Job.try_picture, jobs, workers=readers, ahead=_AHEAD * self.batch_size + readers)
        waiting: list[tuple[int, str, Image.Image]] = []
        for number, (job, picture) in enumerate(zip(jobs, pictures, strict=True)):
            if isinstance(picture, str):
                yield [(number, Said(problem=picture))]
            else:
                waiting.append((number, job.prompt, picture))
            if len(waiting) == self.batch_size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, waiting: Sequence[tuple[int, str, Image.Image]]) -> Finished:
        found: Finished = []

        def compute(start: int, stop: int) -> None:
            part = waiting[start:stop]
            said = self._generate([prompt for _, prompt, _ in part], [picture for *_, picture in part])
            found.extend((number, one) for (number, *_), one in zip(part, said, strict=True))

        self._batcher.run(compute, len(waiting), self.batch_size)
        return found

    def _generate(self, prompts: Sequence[str], pictures: Sequence[Image.Image]) -> list[Said]:
        import torch

        model, processor = self._loaded
        texts = [_as_chat(processor, prompt) for prompt in prompts]
        bos = processor.tokenizer.bos_token
        doubled = bos is not None and texts[0].startswith(bos)  # a template that writes it must not get it twice
        inputs = processor(
            images=[[picture] for picture in pictures],
            text=texts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not doubled,
        ).to(self._device)
        for key, value in inputs.items():
            if value.is_floating_point():
                inputs[key] = value.to(self._computes_in)
        with torch.inference_mode():
            tokens = model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.max_tokens,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=processor.tokenizer.pad_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ends = model.generation_config.eos_token_id
        stops = torch.tensor(ends if isinstance(ends, list) else [-1 if ends is None else ends], device=tokens.device)
        ended = torch.isin(tokens, stops).any(1).tolist()
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        return [Said(text, "stop" if end else "length") for text, end in zip(texts, ended, strict=True)]

    def meter(self) -> str:
        """A local model costs time alone."""
        return ""

    def usage(self) -> dict[str, Any]:
        """Nothing is counted."""
        return {}


def _as_chat(processor: Any, prompt: str) -> str:
    """The picture, then the question, in the words of the model's own chat template."""
    parts = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    return str(text)
