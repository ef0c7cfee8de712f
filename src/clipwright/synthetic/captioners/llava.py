"""LLaVA-NeXT as the single-tile LLaVA that LatteCLIP's captions came from.

The published captions were made with LLaVA 1.6, but what reached its language model was the first tile alone: the whole
picture squashed to a square, 576 tokens, without the marks between rows. The same weights under the architecture of
LLaVA 1.5 compute exactly that, at about a fifth of the work of all tiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipwright.core.errors import BackboneError
from clipwright.synthetic.captioners.repository import model_config, model_folder

THUMBNAIL_TYPES = frozenset({"llava_next"})
"""Model types that are run as a single-tile LLaVA in the thumbnail view."""

_SAME = (
    *("vision_config", "text_config", "projector_hidden_act", "multimodal_projector_bias"),
    *("vision_feature_layer", "vision_feature_select_strategy", "tie_word_embeddings"),
)
_LEFT_OVER = "image_newline"  # the mark between rows of tiles, which a single tile doesn't have


def single_tile(
    library: Any, folder: Path, side: int, options: dict[str, Any], safe: dict[str, Any]
) -> tuple[Any, Any]:
    """Load a LLaVA-NeXT folder as LLaVA.

    Args:
        library: transformers.
        folder: the model's files.
        side: pixels per side of the square that pictures are squashed to.
        options: for loading the weights.
        safe: for loading everything else.

    Returns:
        the model and its processor.

    Raises:
        BackboneError: the weights don't fit.
    """
    tiled = library.AutoConfig.from_pretrained(folder, **safe)
    given = library.AutoProcessor.from_pretrained(folder, **safe)
    patch = int(tiled.vision_config.patch_size)
    config = library.LlavaConfig(
        **{name: getattr(tiled, name) for name in _SAME if hasattr(tiled, name)},
        image_token_index=tiled.image_token_index,
        image_seq_length=(side // patch) ** 2,
    )
    model, loading = library.LlavaForConditionalGeneration.from_pretrained(
        folder, config=config, output_loading_info=True, **options
    )
    strange = [key for key in loading["unexpected_keys"] if _LEFT_OVER not in key]
    if loading["missing_keys"] or strange:
        raise BackboneError("its weights don't fit a LLaVA of one tile: use --view anyres")
    images = given.image_processor
    processor = library.LlavaProcessor(
        image_processor=library.CLIPImageProcessor(
            size={"height": side, "width": side},
            do_center_crop=False,
            image_mean=images.image_mean,
            image_std=images.image_std,
        ),
        tokenizer=given.tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=tiled.vision_feature_select_strategy,
        chat_template=given.chat_template,
        image_token=given.image_token,
        num_additional_image_tokens=1,
    )
    return model, processor


def save_single_tile(source: str, out: str | Path, *, revision: str | None = None) -> Path:
    """Save a LLaVA-NeXT (LLaVA 1.6) as a single-tile LLaVA, for servers such as vLLM: the thumbnail view exactly.

    Args:
        source: a local folder, or ``OWNER/NAME`` on the hub.
        out: the folder to write; the weights keep their precision.
        revision: commit or tag of a repository.

    Returns:
        the folder.

    Raises:
        BackboneError: it can't be had, or is no LLaVA-NeXT.
    """
    folder = model_folder(source, revision)
    config = model_config(folder)
    if config.get("model_type") not in THUMBNAIL_TYPES:
        raise BackboneError(f"{source} is no LLaVA-NeXT, so it has no single tile: serve it as it is.")
    safe = {"local_files_only": True, "trust_remote_code": False}
    options: dict[str, Any] = {"use_safetensors": True, "dtype": "auto", **safe}
    side = int(config["vision_config"]["image_size"])
    model, processor = single_tile(transformers_library(), folder, side, options, safe)
    model.save_pretrained(out, safe_serialization=True)
    processor.save_pretrained(out)
    return Path(out)


def transformers_library() -> Any:
    """The library, which from then on says only what is wrong.

    Raises:
        BackboneError: it isn't installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise BackboneError(
            "--captioner transformers needs the package transformers: pip install 'clipwright[hf]'."
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
