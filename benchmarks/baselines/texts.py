"""Text features as a careful user of open_clip gets them: batched, in inference mode, at the full context length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


@torch.inference_mode()
def encode(model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int) -> torch.Tensor:
    """(T, D) raw features of T texts by ``encode_text`` on all positions of the context."""
    tokens = tokenizer(list(texts))
    return torch.cat([model.encode_text(rows) for rows in tokens.split(batch_size)])


@torch.inference_mode()
def one_by_one(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """(T, D) raw features of T texts, one text at a time, as the code of CODER encodes its knowledge."""
    return torch.cat([model.encode_text(tokenizer([text])) for text in texts])
