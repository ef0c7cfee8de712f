"""A text-to-image pipeline of random weights, a few hundred kB, made from configs and saved as diffusers saves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIDE = 32


def build_pipeline(folder: Path, *, checker: bool = False, channels: int = 32) -> Path:
    """Save a Stable Diffusion pipeline with random weights; with `checker`, its safety checker blocks every image."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(channels, 2 * channels),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=channels,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=300,
            hidden_size=channels,
            intermediate_size=37,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=32,
            bos_token_id=256,
            eos_token_id=257,
            pad_token_id=257,
        )
    )
    pipeline = StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=_tokenizer(folder / "words"),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=_checker() if checker else None,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        if checker
        else None,
        requires_safety_checker=checker,
    )
    pipeline.save_pretrained(folder / "pipeline", safe_serialization=True)
    return folder / "pipeline"


def _tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer with one token for each byte and no merges."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    letters = list(bytes_to_unicode().values())
    words = [*letters[:128], *(f"{letter}</w>" for letter in letters[:128])]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 32}), encoding="utf-8"
    )
    return CLIPTokenizer.from_pretrained(str(folder))


def _checker() -> Any:
    """A checker whose thresholds lie below every cosine."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=8,
    )  # fmt: skip
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision.to_dict(), projection_dim=8))
    with torch.no_grad():
        checker.concept_embeds.data = torch.randn_like(checker.concept_embeds)
        checker.special_care_embeds.data = torch.randn_like(checker.special_care_embeds)
        checker.concept_embeds_weights.data.fill_(-2.0)
        checker.special_care_embeds_weights.data.fill_(-2.0)
    return checker
