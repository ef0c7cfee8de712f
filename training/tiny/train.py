"""The training loop: rendered images against captions, by CLIP's contrastive loss."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from training.tiny import captions, model, parts

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
        precision: Of the image tower's arithmetic, "float32" or "bfloat16"; weights are float32.
    """

    seed: int = 1
    steps: int = 1400
    batch: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 60
    auxiliary: float = 0.5
    clip: float = 1.0
    handwriting: float = 0.003
    precision: str = "bfloat16"


def native_precision(device: str, flags: Path = Path("/proc/cpuinfo")) -> str:
    """bfloat16 on accelerators and on processors that compute in it; others imitate it at a seventh of the speed."""
    if not device.startswith("cpu"):
        return "bfloat16"
    try:
        known = flags.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "float32"
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(known.split()) else "float32"


class AttributeHeads(nn.Module):
    """Linear classifiers of a scene's fields and of its noun's parts, for one tower; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        options = (atlas.NOUNS, atlas.MEDIA, scenes.COLOURS, scenes.COLOURS, scenes.TEXTURES, scenes.SIZES)
        sizes = [len(o) for o in (*options, scenes.WEIGHTS, scenes.QUALITIES)]
        self.fields = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.parts = nn.Linear(width, len(parts.ATTRIBUTES))

    def forward(self, features: torch.Tensor, table: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Sum of the fields' cross-entropies and four times the parts' mean; -1 in table and truth is skipped."""
        losses = [
            functional.cross_entropy(head(features), column, ignore_index=-1)
            for head, column in zip(self.fields, table.unbind(1), strict=True)
            if bool((column >= 0).any())
        ]
        known = truth >= 0
        each = functional.binary_cross_entropy_with_logits(
            self.parts(features), truth.clamp(min=0).to(features.dtype), reduction="none"
        )
        return torch.stack(losses).sum() + 4 * (each * known).sum() / known.sum().clamp(min=1)


class Trainer:
    """Model, optimiser and the stream of batches; a saved one goes on as if it had never stopped.

    Args:
        recipe: What to do.
        device: Where the towers and the renderer run.
    """

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, torch.device(device)
        self.model = model.build().to(self.device, memory_format=torch.channels_last)
        self.image_heads = AttributeHeads(256).to(self.device)
        self.text_heads = AttributeHeads(128).to(self.device)
        self.atlas = atlas.build(recipe.seed)
        self.renderer = compose.Renderer(self.atlas, recipe.seed, device=self.device)
        self.tokenizer = model.tokenizer()
        self.modules = nn.ModuleList([self.model, self.image_heads, self.text_heads])
        self.parameters = list(self.modules.parameters())
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
            The batch's loss, the share of images whose own caption fits best, and the logit scale.
        """
        recipe = self.recipe
        scene = scenes.sample(
            self.atlas, recipe.batch, seed=recipe.seed, step=self.done, handwriting=recipe.handwriting
        )
        caption = captions.write(scene, seed=recipe.seed, step=self.done)
        trunk, image = self._see(self.renderer(scene, self.done))
        text = model.encode(self.model, self.tokenizer(caption.texts).to(self.device))
        scale = self.model.logit_scale.exp().clamp(max=100.0)
        logits = scale * image @ functional.normalize(text, dim=-1).T
        known = torch.from_numpy(captions.conflicts(caption, scene)).T.to(self.device)
        known.fill_diagonal_(False)
        logits = logits.masked_fill(known, -1e4)
        target = torch.arange(recipe.batch, device=self.device)
        contrast = 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
        fade = max(0.0, 1 - self.done / (0.75 * recipe.steps))
        loss = contrast
        if fade > 0:
            truth = torch.from_numpy(parts.truth()[scene.table[:, 0]]).to(self.device)
            said = torch.from_numpy(captions.implied(caption)).to(self.device)
            extra = self.image_heads(trunk, torch.from_numpy(scene.table).to(self.device), truth)
            extra = extra + self.text_heads(text, torch.from_numpy(caption.said).to(self.device), said)
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

    def _see(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features before the projection (B, 256), and normalised after it (B, 128), both float32."""
        images = images.sub(0.5).div(0.5).contiguous(memory_format=torch.channels_last)
        half = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            trunk = self.model.visual.trunk(images).float()
        return trunk, functional.normalize(self.model.visual.head(trunk), dim=-1)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all: weights, the optimiser's moments, the step, the recipe."""
        tensors = {f"model.{k}": v for k, v in self.modules.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        metadata = {"done": str(self.done), "recipe": repr(asdict(self.recipe))}
        save_file(tensors, path.with_suffix(".new"), metadata=metadata)
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: It was made by another recipe.
        """
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
        if metadata["recipe"] != repr(asdict(self.recipe)):
            msg = f"{path} was made by another recipe, {metadata['recipe']}: choose another folder, or delete it"
            raise ValueError(msg)
        self.modules.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k[:6] == "model."})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.done = int(metadata["done"])
