"""Supervision made by other models: what language models say of classes, and how multimodal ones are asked."""
