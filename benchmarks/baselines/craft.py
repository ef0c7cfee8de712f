"""A generation of CraFT as its released code takes it, kept straightforward: candidate by candidate, 77 tokens each."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.nn.functional import cross_entropy, log_softmax, normalize


class Released:
    """Whole sequences for every candidate, images encoded anew for every epoch of the head.

    Favours: text features are computed once per epoch, not once per mini-batch as released; images come decoded; the
    test images that the released loop scores in each generation are left out.
    """

    def __init__(self, model: Any, tokens: torch.Tensor, length: int, labels: torch.Tensor, weight: float) -> None:
        self.model, self.length, self.labels, self.weight = model, length, labels, weight
        self.ends = tokens.argmax(1)
        with torch.inference_mode():
            embedded = model.token_embedding(tokens)
        self.before, self.after = embedded[:, :1], embedded[:, 1 + length :]
        self.text_seconds = 0.0

    @torch.inference_mode()
    def texts(self, context: torch.Tensor) -> torch.Tensor:
        """(C, D) unit features of all classes under one context (m, d)."""
        start = time.perf_counter()
        model = self.model
        x = torch.cat([self.before, context.expand(len(self.before), -1, -1), self.after], dim=1)
        x = model.transformer(x + model.positional_embedding, attn_mask=model.attn_mask)
        x = model.ln_final(x)[torch.arange(len(x)), self.ends] @ model.text_projection
        found = normalize(x, dim=-1)
        self.text_seconds += time.perf_counter() - start
        return found

    @torch.inference_mode()
    def fitness(self, contexts: torch.Tensor, images: torch.Tensor, network: list[torch.Tensor]) -> torch.Tensor:
        """(P,) of P contexts, given (n, D) unit image features."""
        values = []
        for context in contexts:
            z = 100 * images @ self.texts(context).T
            better = self._refined(z, network)
            logp, logq = log_softmax(better, 1), log_softmax(z, 1)
            divergence = (logp.exp() * (logp - logq)).sum(1).mean()
            values.append(cross_entropy(z, self.labels) + self.weight * divergence)
        return torch.stack(values)

    def epoch(self, context: torch.Tensor, pixels: torch.Tensor, network: list[torch.Tensor], adam: Any) -> None:
        """One pass of the head over the images, which are encoded for it."""
        texts = self.texts(context)
        for start in range(0, len(pixels), 256):
            with torch.inference_mode():
                images = normalize(self.model.encode_image(pixels[start : start + 256]), dim=-1)
                z = 100 * images @ texts.T
            z = z.clone()
            better = self._refined(z, network)
            logp, logq = log_softmax(z, 1), log_softmax(better, 1)
            loss = cross_entropy(better, self.labels[start : start + 256])
            loss = loss + self.weight * (logp.exp() * (logp - logq)).sum(1).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            adam.step()

    @staticmethod
    def _refined(z: torch.Tensor, network: list[torch.Tensor]) -> torch.Tensor:
        w1, b1, w2, b2 = network
        return z + torch.relu(z @ w1.T + b1) @ w2.T + b2
