"""Soft prompts through a causal text tower: what all classes share is run once per prompt, and nothing is padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clipwright.backbones.device import Batcher
from clipwright.backbones.text_tower import CausalText
from clipwright.core.errors import DataError, NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.task import Access, Spent

WORDS = "a photo of a"
"""The words that a context starts from, unless others are asked for."""

BATCH = 1 << 17
"""Tokens of the classes that are run together, at most."""


@dataclass(frozen=True, eq=False)
class _Group:
    """Classes whose names, with the full stop and the end token, have equally many tokens."""

    classes: torch.Tensor  # (K,) int64
    tokens: torch.Tensor  # (K, l) int64


class SoftPrompts:
    """A backbone in this process as a black box: class names under prompts that are given as token embeddings.

    A prompt stands before every name, so its keys and values are computed once and serve all classes; names of equal
    length are run together and end at their end token, after which a causal tower can't look; the last layer is run at
    the end token alone. All of this is exact.

    Attributes:
        access: what may be asked.
        spent: what answering has cost so far.
        features: raw (D,) features of images by handle, for `prompt_scores`.

    Args:
        tower: a causal text tower.
        names: C class names as prompts say them.
        words: the words that a context replaces.
        scale: what multiplies cosines.
        device: where the tower is.

    Raises:
        NeedsError: the tower pools elsewhere than at the end token.
        DataError: a name is too long for the tower.
    """

    def __init__(
        self, tower: CausalText, names: Sequence[str], *, words: str = WORDS, scale: float, device: torch.device
    ) -> None:
        if tower.pools_first:
            raise NeedsError("this text tower is read at its first token, before any prompt: use another backbone.")
        self.access = frozenset({Access.SOFT_PROMPT, Access.FEATURES, Access.SCORES, Access.LABELS})
        self.spent = Spent()
        self.features: dict[str, torch.Tensor] = {}
        self.names = tuple(names)
        self._tower, self._scale, self._device = tower, scale, device
        self._words = words
        self._head = self._tokens([words])[0][:-1]  # SOS and the words
        self._groups = self._grouped()
        self._batcher = Batcher()

    @property
    def dim(self) -> int:
        """D."""
        return self._tower.dim

    @property
    def width(self) -> int:
        """Width d of the token embeddings."""
        return int(self._tower.parts.token_embedding.weight.shape[1])

    def context(self, words: str = "") -> torch.Tensor:
        """(m, d) float32 token embeddings of some words, by default of those that the context replaces."""
        tokens = self._tokens([words or self._words])[0][1:-1]
        with torch.inference_mode():
            found: torch.Tensor = self._tower.parts.token_embedding(tokens.to(self._device))
        return found.float().cpu()

    @torch.inference_mode()
    def prompt_features(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) raw float32 text features, on the CPU, of all classes under P contexts (P, m, d).

        Raises:
            DataError: the contexts have another shape, hold NaN, or leave no room for the names.
        """
        self._check(contexts)
        found = torch.empty(len(contexts), len(self.names), self.dim)
        longest = max(group.tokens.shape[1] for group in self._groups)
        per_prompt = sum(group.tokens.numel() for group in self._groups)
        if 1 + contexts.shape[1] + longest > self._tower.positions:
            raise DataError(
                f"a context of {contexts.shape[1]} vectors and a class name of {longest - 1} tokens are longer than "
                f"the {self._tower.positions} positions of the text tower: shorten one of them."
            )

        def compute(start: int, stop: int) -> None:
            prefix = self._prefix(contexts[start:stop])
            for group in self._groups:
                states = continued(self._tower.parts, prefix, group.tokens)
                found[start:stop, group.classes] = self._tower.project(states).float().cpu()

        self._batcher.run(compute, len(contexts), max(1, BATCH // per_prompt))
        self.spent.prompts += len(contexts)
        self.spent.texts += len(contexts) * len(self.names)
        return found

    def prompt_scores(self, contexts: torch.Tensor, handles: Sequence[str]) -> torch.Tensor:
        """(P, n, C) float32 logit scale times cosine of n images under P contexts (P, m, d).

        Raises:
            DataError: an image is not known by its handle.
        """
        missing = [handle for handle in handles if handle not in self.features]
        if missing:
            raise DataError(f"{len(missing)} of {len(handles)} images are not known here: send them first.")
        images = unit_rows(torch.stack([self.features[handle] for handle in handles]).float())
        texts = unit_rows(self.prompt_features(contexts).flatten(0, 1)).view(len(contexts), len(self.names), -1)
        self.spent.scorings += len(contexts) * len(handles)
        return self._scale * (images @ texts.transpose(1, 2))

    def _check(self, contexts: torch.Tensor) -> None:
        if contexts.ndim != 3 or contexts.shape[2] != self.width or 0 in contexts.shape:
            raise DataError(f"contexts must be (P, m, {self.width}); they are {tuple(contexts.shape)}.")
        if not bool(torch.isfinite(contexts).all()):
            raise DataError("contexts hold NaN or infinity: choose a smaller step size.")

    def _prefix(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, 1 + m, d) SOS and the contexts, positions not yet added."""
        sos = self._tower.parts.token_embedding(self._head[:1].to(self._device))
        rows = contexts.to(self._device, sos.dtype)
        return torch.cat([sos.expand(len(rows), 1, -1), rows], dim=1)

    def _tokens(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Tokens of each text from SOS to the end token."""
        tokens = self._tower.tokenize(texts)
        return [row[:n] for row, n in zip(tokens, self._tower.lengths(tokens).tolist(), strict=True)]

    def _grouped(self) -> list[_Group]:
        """Class tokens after the words, by length."""
        start = len(self._head)
        by_length: dict[int, list[tuple[int, torch.Tensor]]] = {}
        for place, row in enumerate(self._tokens([f"{self._words} {name}." for name in self.names])):
            if not torch.equal(row[:start], self._head):
                raise DataError(
                    f"the tokenizer joins the words {self._words!r} with the class name {self.names[place]!r}: "
                    "give the name without a leading punctuation mark."
                )
            by_length.setdefault(len(row) - start, []).append((place, row[start:]))
        return [
            _Group(torch.tensor([c for c, _ in rows]), torch.stack([tokens for _, tokens in rows]).to(self._device))
            for rows in by_length.values()
        ]


def continued(parts: Any, prefix: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(P, K, d) states at the last of (K, l) tokens that follow (P, L, d) embeddings, before the last layer norm.

    `parts` is what holds ``token_embedding``, ``positional_embedding``, ``transformer`` and ``attn_mask``.
    """
    blocks = parts.transformer.resblocks
    dtype = parts.transformer.get_cast_dtype()
    length, own = prefix.shape[1], tokens.shape[1]
    positions = parts.positional_embedding.to(dtype)
    shared = prefix.to(dtype) + positions[:length]
    names = parts.token_embedding(tokens).to(dtype) + positions[length : length + own]
    if not all(_is_plain(block) for block in blocks):
        return _whole(parts, shared, names)
    states: torch.Tensor = names.expand(len(shared), *names.shape)
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        shared, states = _step(block, shared, states, last=last)
    return states[:, :, -1]


def _is_plain(block: Any) -> bool:
    """Whether a block is open_clip's usual one, whose parts are known."""
    from open_clip.transformer import ResidualAttentionBlock

    attention = getattr(block, "attn", None)
    return (
        type(block) is ResidualAttentionBlock
        and isinstance(attention, nn.MultiheadAttention)
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
    )


def _whole(parts: Any, shared: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """The same by the library's own transformer, for blocks of another kind."""
    prompts, length, width = shared.shape
    classes, own, _ = names.shape
    rows = torch.cat(
        [
            shared[:, None].expand(prompts, classes, length, width),
            names[None].expand(prompts, classes, own, width),
        ],
        dim=2,
    ).flatten(0, 1)
    total = length + own
    states = parts.transformer(rows, attn_mask=parts.attn_mask[:total, :total])
    return states.view(prompts, classes, total, width)[:, :, -1]  # type: ignore[no-any-return] # open_clip is untyped


def _step(block: Any, shared: torch.Tensor, states: torch.Tensor, *, last: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """One block: (P, L, d) shared states and (P, K, l, d) states of the names, which see the shared ones."""
    attention = block.attn
    heads = attention.num_heads
    query, key, value = _qkv(attention, block.ln_1(shared), heads)  # (P, h, L, e)
    if not last:
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        shared = _finish(block, shared, mixed.transpose(1, 2).flatten(2))
    mixed, states = _names(attention, block.ln_1(states), (key, value), states, last=last)
    return shared, _finish(block, states, mixed)


def _qkv(attention: nn.MultiheadAttention, x: torch.Tensor, heads: int) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values (P, h, n, e) of (P, n, d)."""
    made = nn.functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    split = made.view(*made.shape[:-1], 3, heads, -1)
    return tuple(part.transpose(-3, -2) for part in split.unbind(-3))


def _names(
    attention: nn.MultiheadAttention,
    x: torch.Tensor,
    before: tuple[torch.Tensor, torch.Tensor],
    states: torch.Tensor,
    *,
    last: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of (P, K, l, d) names to the shared keys and values and to themselves; the last layer's end token only.

    Returns:
        (P, K, l', d) mixed values and the states that they are added to; l' = 1 in the last layer.
    """
    query, key, value = _qkv(attention, x, attention.num_heads)  # (P, K, h, l, e)
    prompts, classes, heads, own, width = key.shape
    if last:
        query, states = query[..., -1:, :], states[:, :, -1:]
    asked = query.shape[-2]
    query = query * width**-0.5
    joined = query.transpose(1, 2).reshape(prompts, heads, classes * asked, width)
    outside = (joined @ before[0].transpose(-1, -2)).view(prompts, heads, classes, asked, -1).transpose(1, 2)
    inside = query @ key.transpose(-1, -2)
    if asked > 1:
        ahead = torch.ones(own, own, dtype=torch.bool, device=x.device).triu(1)
        inside = inside.masked_fill(ahead, float("-inf"))
    shares = torch.cat([outside, inside], dim=-1).float().softmax(-1).to(x.dtype)
    length = outside.shape[-1]
    of_prefix = shares[..., :length].transpose(1, 2).reshape(prompts, heads, classes * asked, length) @ before[1]
    of_prefix = of_prefix.view(prompts, heads, classes, asked, width).transpose(1, 2)
    mixed = of_prefix + shares[..., length:] @ value
    return mixed.transpose(2, 3).flatten(3), states


def _finish(block: Any, states: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """What follows attention in a block: its output matrix, and the small network, each added to the states."""
    states = states + block.ls_1(block.attn.out_proj(mixed))
    return states + block.ls_2(block.mlp(block.ln_2(states)))  # type: ignore[no-any-return] # open_clip is untyped
