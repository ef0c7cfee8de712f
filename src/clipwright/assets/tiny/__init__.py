"""The embedded model: a CLIP of 2.7M parameters that knows digits, capitals and shapes, and nothing else.

The folder is an ordinary open_clip folder: once `register` has told timm about the image tower,
`open_clip.create_model("local-dir:" + str(files().folder))` builds it. `load` does that, in float32, with the cut
tokenizer. How it was made: training/tiny/README.md in the repository; what it can do: MODEL_CARD.md beside this file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files as _resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from clipwright.core.errors import BackboneError

if TYPE_CHECKING:
    from open_clip import CLIP

CONTEXT_LENGTH = 36
"""Tokens the text tower reads, start and end tokens included."""

VOCABULARY = 6144
"""Tokens of the cut tokenizer: 512 bytes, CLIP's first 5,630 merges, start and end of text."""


@dataclass(frozen=True)
class TinyFiles:
    """Where the embedded model's files lie.

    Attributes:
        folder: The folder of all the others, in open_clip's `local-dir:` layout.
        weights: float16 safetensors.
        config: open_clip's `open_clip_config.json`: `model_cfg` and `preprocess_cfg`.
        merges: Gzipped merges for `open_clip.tokenizer.SimpleTokenizer(bpe_path=...)`.
        known_answers: Inputs and the features they must give.
        card: The model card.
    """

    folder: Path
    weights: Path
    config: Path
    merges: Path
    known_answers: Path
    card: Path


class PreprocessConfig(TypedDict):
    """How pixels become the image tower's input.

    `size` is pixels per side; `mean` and `std` are per channel, of pixels in [0, 1]; `interpolation` and
    `resize_mode` are open_clip's words.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str


def files() -> TinyFiles:
    """Find the embedded model's files.

    Returns:
        Paths inside the installed package.

    Raises:
        BackboneError: The package was installed without them.
    """
    folder = Path(str(_resources(__name__)))
    names = ("open_clip_model.safetensors", "open_clip_config.json", "bpe_merges.txt.gz")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BackboneError(f"The embedded model lacks {', '.join(missing)} in {folder}; reinstall clipwright.")
    weights, config_file, merges = (folder / name for name in names)
    return TinyFiles(folder, weights, config_file, merges, folder / "known_answers.json", folder / "MODEL_CARD.md")


def register() -> None:
    """Make timm, and with it open_clip, know the image tower `clipwright_tiny_cnn`. Calling it again does nothing."""
    from clipwright.assets.tiny import architecture

    architecture.register()


def config() -> dict[str, Any]:
    """Read open_clip's configuration of the embedded model.

    Returns:
        A new dict with `model_cfg` and `preprocess_cfg`.
    """
    parsed: dict[str, Any] = json.loads(files().config.read_text(encoding="utf-8"))
    return parsed


def build() -> CLIP:
    """Build the model with random weights.

    Returns:
        An `open_clip.CLIP` in float32, in training mode.
    """
    import open_clip

    register()
    return open_clip.CLIP(**config()["model_cfg"])


def tokenizer() -> Any:
    """Make the cut tokenizer.

    Returns:
        An `open_clip.tokenizer.SimpleTokenizer`: texts -> (n, 36) int64 tokens.
    """
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(bpe_path=str(files().merges), context_length=CONTEXT_LENGTH)


def preprocess() -> PreprocessConfig:
    """Say how pixels become the image tower's input."""
    values = config()["preprocess_cfg"]
    return PreprocessConfig(
        size=values["size"],
        mean=tuple(values["mean"]),
        std=tuple(values["std"]),
        interpolation=values["interpolation"],
        resize_mode=values["resize_mode"],
    )


def load() -> tuple[CLIP, Any, PreprocessConfig]:
    """Load the embedded model.

    Returns:
        The `open_clip.CLIP` in evaluation mode and float32, its tokenizer, and its preprocessing. Features before the
        projection are `model.visual.trunk(images)`, (n, 256); `model.visual.head` projects them to 128.

    Raises:
        BackboneError: The files are missing or don't fit the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build()
    try:
        model.load_state_dict(load_file(files().weights))
    except (RuntimeError, SafetensorError) as error:
        raise BackboneError(f"The embedded model's weights are damaged; reinstall clipwright ({error}).") from error
    return model.eval().requires_grad_(False), tokenizer(), preprocess()
