"""Text features without waste: unique texts once, sorted by length, causal towers cut after the last end token."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from clipwright.backbones.device import Batcher


class TextTower(ABC):
    """A tokenizer and a text tower.

    Attributes:
        dim: D, width of the features.
    """

    dim: int

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, L) int64 tokens at the full context length."""

    @abstractmethod
    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """(T,) int64 positions that each row needs: up to its end token in a causal tower, else all L."""

    @abstractmethod
    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, D) raw features of (b, l) tokens, cut at `lengths` or longer."""

    @abstractmethod
    def copied(self) -> tuple[TextTower, nn.Module]:
        """The same tower with weights of its own, and the module that holds them."""

    def overlong(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts of which the tokenizer drops the end."""
        del texts
        return []


def encode_texts(
    tower: TextTower,
    texts: Sequence[str],
    *,
    device: torch.device,
    batch_size: int = 256,
    batcher: Batcher | None = None,
) -> torch.Tensor:
    """Encode texts, each different one once.

    A causal tower never looks past the end token, so cutting a batch at its longest end token changes nothing; sorting
    by length makes the batches short.

    Args:
        tower: the tokenizer and the model.
        texts: T texts.
        device: where the model is.
        batch_size: texts per batch, at most.
        batcher: remembers the batch size that fits.

    Returns:
        (T, D) raw float32 features on the CPU, in the order of `texts`.
    """
    unique = list(dict.fromkeys(texts))
    if not unique:
        return torch.zeros(0, tower.dim)
    tokens = tower.tokenize(unique)
    lengths = tower.lengths(tokens)
    _warn_overlong(tower, unique, lengths, tokens.shape[1])
    order = torch.argsort(lengths, stable=True)
    features = torch.zeros(len(unique), tower.dim)

    def compute(start: int, stop: int) -> None:
        rows = order[start:stop]
        batch = tokens[rows, : int(lengths[rows[-1]])]
        features[rows] = tower.encode(batch.to(device)).float().cpu()

    (batcher or Batcher()).run(compute, len(unique), batch_size)
    position = {text: i for i, text in enumerate(unique)}
    return features[torch.tensor([position[text] for text in texts])]


def _warn_overlong(tower: TextTower, texts: Sequence[str], lengths: torch.Tensor, context: int) -> None:
    full = [texts[i] for i in (lengths == context).nonzero()[:, 0].tolist()]
    cut = tower.overlong(full) if full else []
    if cut:
        warnings.warn(
            f"{len(cut)} of {len(texts)} texts are longer than the model's {context} tokens and lose their end, "
            f"first: {cut[0][:60]!r}...",
            UserWarning,
            stacklevel=5,  # the caller of Backbone.texts
        )


class WholeText(TextTower):
    """A text tower that sees the whole context, padding included: left as it is."""

    def __init__(self, tokenizer: Any, model: Any, dim: int) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self.dim = dim

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, L) tokens as the library's tokenizer pads them."""
        tokens: torch.Tensor = self._tokenizer(list(texts))
        return tokens

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """L for every row."""
        return torch.full((len(tokens),), tokens.shape[1])

    def copied(self) -> tuple[TextTower, nn.Module]:
        """The same tower with weights of its own, and the module that holds them."""
        model = without(self._model, self._model.visual)
        return WholeText(self._tokenizer, model, self.dim), model

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """The library's own features."""
        features: torch.Tensor = self._model.encode_text(tokens, normalize=False)  # CoCa would normalise
        return features


class CausalText(TextTower):
    """A causal open_clip text tower, run on as many positions as it is given.

    Args:
        tokenizer: texts to (T, L) tokens.
        parts: the module that holds ``token_embedding``, ``positional_embedding``, ``transformer``, ``ln_final``,
            ``text_projection`` and ``attn_mask``: `CLIP` itself or its `TextTransformer`.
        pool: ``argmax`` (end token = largest number), ``eos`` (first `eos`) or ``first``.
        eos: number of the end token, where `pool` is ``eos``.
        dim: D.
    """

    def __init__(self, tokenizer: Any, parts: Any, pool: str, eos: int, dim: int) -> None:
        self._tokenizer = tokenizer
        self._parts = parts
        self._pool = pool
        self._eos = eos
        self.dim = dim

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, L) tokens as the library's tokenizer pads them."""
        tokens: torch.Tensor = self._tokenizer(list(texts))
        return tokens

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """One more than the position that is pooled."""
        return self._pooled(tokens) + 1

    def overlong(self, texts: Sequence[str]) -> list[str]:
        """Texts with more tokens than fit, where the tokenizer can count."""
        count = getattr(self._tokenizer, "encode", None)
        room = self._parts.positional_embedding.shape[0] - 2
        return [text for text in texts if len(count(text)) > room] if callable(count) else []

    def copied(self) -> tuple[TextTower, nn.Module]:
        """The same tower with weights of its own, and the module that holds them."""
        parts = without(self._parts, getattr(self._parts, "visual", None))
        return CausalText(self._tokenizer, parts, self._pool, self._eos, self.dim), parts

    @property
    def parts(self) -> Any:
        """The module that holds the tower's parts."""
        return self._parts

    @property
    def positions(self) -> int:
        """L, the tokens that fit."""
        return int(self._parts.positional_embedding.shape[0])

    @property
    def pools_first(self) -> bool:
        """Whether the feature is read at the first token instead of the end token."""
        return self._pool == "first"

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, D) features; only the pooled position goes through the last layer norm and the projection."""
        parts = self._parts
        dtype = parts.transformer.get_cast_dtype()
        positions = tokens.shape[1]
        x = parts.token_embedding(tokens).to(dtype) + parts.positional_embedding[:positions].to(dtype)
        x = parts.transformer(x, attn_mask=parts.attn_mask[:positions, :positions])
        return self.project(x[torch.arange(len(x), device=x.device), self._pooled(tokens)])

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """(..., D) features of (..., d) states at the end token: the last layer norm and the projection."""
        parts = self._parts
        pooled = parts.ln_final(pooled)
        projection = parts.text_projection
        if projection is None:
            return pooled
        if isinstance(projection, nn.Linear):
            return projection(pooled)  # type: ignore[no-any-return] # open_clip is untyped
        return pooled @ projection  # type: ignore[no-any-return] # open_clip is untyped

    def _pooled(self, tokens: torch.Tensor) -> torch.Tensor:
        if self._pool == "first":
            return torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        marks = tokens if self._pool == "argmax" else (tokens == self._eos).int()
        return marks.argmax(-1)


def without(model: Any, part: nn.Module | None) -> Any:
    """A deep copy of a model that lacks one of its parts."""
    return copy.deepcopy(model, {} if part is None else {id(part): None})


def open_clip_text(model: Any, tokenizer: Any, dim: int) -> TextTower:
    """The text tower of an open_clip model: cut where it is causal and pools at the end token, else left whole."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    parts: Any = model if isinstance(model, CLIP) else getattr(model, "text", None)
    if isinstance(model, CLIP):
        pool, eos = model.text_pool_type, model.text_eos_id
    elif isinstance(parts, TextTransformer) and parts.cls_emb is None and not parts.use_pad_mask:
        pool, eos = parts.pool_type, parts.eos_id
    else:
        return WholeText(tokenizer, model, dim)
    if pool in {"argmax", "eos", "first"} and is_causal(parts.attn_mask):
        return CausalText(tokenizer, parts, pool, int(eos), dim)
    return WholeText(tokenizer, model, dim)


def is_causal(mask: torch.Tensor | None) -> bool:
    """Whether an additive (L, L) attention mask lets every position see itself and those before it, and no other."""
    if mask is None or mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        return False
    ahead = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool((mask[ahead] == float("-inf")).all() and (mask[~ahead] == 0).all())
