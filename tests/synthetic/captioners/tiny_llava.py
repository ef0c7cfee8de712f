"""LLaVA and LLaVA-NeXT of random weights, under a megabyte, made from configs and saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIDE, PATCH = 28, 14
_WORDS = (
    *("<unk>", "<s>", "</s>", "<pad>", "<image>", "[INST]", "[/INST]"),  # the first seven aren't words of a caption
    *("a", "the", "red", "green", "blue", "round", "square", "shape", "on", "with", "small", "large", "smooth", "dark"),
    *("light", "ground", "line", "edge", "of", "and", "describe", "concisely", "in", "less", "than", "20", "words"),
    *("what", "you", "see", "visual", "attributes", "these", "have", "common", "photo"),
)
_SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
_TEMPLATE = (
    "{% for message in messages %}{{ '[INST] ' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ ' [/INST]' }}{% endfor %}"
)


def build_llava(folder: Path, *, hidden: int = 32, layers: int = 2, side: int = SIDE) -> Path:
    """Save a single-tile LLaVA: each image is `side` pixels square and becomes (side / 14)^2 tokens."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    vision, text, tokenizer = _parts(hidden, layers, side)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(side // PATCH) ** 2,
    )
    square = {"height": side, "width": side}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": side}, crop_size=square),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return _save(LlavaForConditionalGeneration, config, processor, folder)


def build_llava_next(folder: Path, *, hidden: int = 32, layers: int = 2) -> Path:
    """Save a LLaVA-NeXT, which sees the squashed image and up to three tiles of it."""
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    vision, text, tokenizer = _parts(hidden, layers, SIDE)
    pinpoints = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=pinpoints,
    )
    square = {"height": SIDE, "width": SIDE}
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": SIDE}, crop_size=square, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return _save(LlavaNextForConditionalGeneration, config, processor, folder)


def _parts(hidden: int, layers: int, side: int) -> tuple[Any, Any, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_WORDS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=["<image>", "[INST]", "[/INST]"],
        padding_side="right",  # as many checkpoints are saved: whoever generates in batches must turn it
        **_SPECIAL,
    )
    vision = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=side,
        patch_size=PATCH,
        projection_dim=hidden,
    )
    text = LlamaConfig(
        vocab_size=len(_WORDS),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        tie_word_embeddings=False,
    )
    return vision, text, fast


def _save(kind: Any, config: Any, processor: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():  # random weights of the usual size would say one word for ever, whatever they see
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
        head = model.lm_head.weight
        head[[0, 1, 3, 4, 5, 6]] = 0.0
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 3
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder
