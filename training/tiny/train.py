"""The training loop: rendered images against captions, by CLIP's contrastive loss, on one core."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from training.tiny import captions

from clipwright.assets import tiny
from clipwright.assets.renderer import atlas, compose, scenes


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        seed: Of weights, masks, scenes, captions and rendering.
        steps: Optimiser steps.
        batch: Images, each with a caption, per step.
        learning_rate: Peak, of AdamW, after a linear warm-up and before a cosine to 0.
        weight_decay: Of matrices and kernels only.
        warm_up: Steps.
        auxiliary: Weight of the attribute heads at the start; 0 from three quarters of the steps on.
        clip: Largest gradient norm.
        handwriting: Share of pen-stroke characters, the others are printed. More of them, and names alone read nearly
            all real digits, which leaves labels nothing to show.
    """

    seed: int = 2
    steps: int = 1600
    batch: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 60
    auxiliary: float = 0.5
    clip: float = 1.0
    handwriting: float = 0.02


class AttributeHeads(nn.Module):
    """One linear classifier per field of a scene, for one tower; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (
            len(atlas.NOUNS),
            len(atlas.MEDIA),
            *[len(scenes.COLOURS)] * 2,
            len(scenes.TEXTURES),
            len(scenes.SIZES),
        )
        self.fields = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, features: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Sum of the fields' cross-entropies; -1 in the table is skipped."""
        losses = [
            functional.cross_entropy(head(features), column, ignore_index=-1)
            for head, column in zip(self.fields, table.unbind(1), strict=True)
            if bool((column >= 0).any())
        ]
        return torch.stack(losses).sum()


class Trainer:
    """Model, optimiser and the stream of batches; `step` may be resumed from a checkpoint.

    Args:
        recipe: What to do.
    """

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = tiny.build().to(memory_format=torch.channels_last)
        self.image_heads = AttributeHeads(256)
        self.text_heads = AttributeHeads(128)
        self.atlas = atlas.build(recipe.seed)
        self.renderer = compose.Renderer(self.atlas, recipe.seed)
        self.tokenizer = tiny.tokenizer()
        modules = nn.ModuleList([self.model, self.image_heads, self.text_heads])
        self.parameters = list(modules.parameters())
        decayed = [p for p in self.parameters if p.ndim >= 2]
        others = [p for p in self.parameters if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
        self.done = 0

    def _rate(self) -> float:
        warm = min(1.0, (self.done + 1) / self.recipe.warm_up)
        return self.recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.done / self.recipe.steps))

    def step(self) -> dict[str, float]:
        """Train on one batch.

        Returns:
            The batch's loss and the share of images whose own caption fits best.
        """
        recipe, model = self.recipe, self.model
        scene = scenes.sample(
            self.atlas, recipe.batch, seed=recipe.seed, step=self.done, handwriting=recipe.handwriting
        )
        caption = captions.write(scene, seed=recipe.seed, step=self.done)
        images = self.renderer(scene, self.done).sub(0.5).div(0.5).contiguous(memory_format=torch.channels_last)
        tokens = self.tokenizer(caption.texts)
        trunk = model.visual.trunk(images)
        image = functional.normalize(model.visual.head(trunk), dim=-1)
        text = model.encode_text(tokens)
        scale = model.logit_scale.exp().clamp(max=100.0)
        logits = scale * image @ functional.normalize(text, dim=-1).T
        known = torch.from_numpy(captions.conflicts(caption, scene)).T
        known.fill_diagonal_(False)
        logits = logits.masked_fill(known, -1e4)
        target = torch.arange(recipe.batch)
        contrast = 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
        fade = max(0.0, 1 - self.done / (0.75 * recipe.steps))
        loss = contrast
        if fade > 0:
            extra = self.image_heads(trunk, torch.from_numpy(scene.table))
            extra = extra + self.text_heads(text, torch.from_numpy(caption.said))
            loss = loss + recipe.auxiliary * fade * extra
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        self.optimiser.step()
        self.done += 1
        right = (logits.argmax(1) == target).float().mean()
        return {"loss": contrast.item(), "top1": right.item(), "scale": scale.item()}
