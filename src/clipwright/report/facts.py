"""What was run, as rows of label and value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipwright.report.elements import Fact
from clipwright.report.text import count, duration

HOW = {
    "fixed": "fixed for all data sets",
    "rule": "a rule of labels and classes",
    "cross-validation": "cross-validation inside the labelled images",
    "validation": "the validation labels",
    "user": "set by the user",
    "closed form": "a closed form",
}
_VALIDATION = {
    "none": "none",
    "few-shot": "min(labels, 4) further labels per class",
    "full": "the whole validation split",
}


def run_facts(config: Mapping[str, Any], seconds: float) -> tuple[Fact, ...]:
    """Facts of one run of the comparison.

    Args:
        config: the run's configuration, as results hold it; may be empty.
        seconds: wall time of all fits and their scoring.
    """
    facts: list[Fact] = []
    if config:
        scored = "images of the test split" if config["test_rule"] == "split" else "images that each draw leaves"
        shots = ", ".join(str(s) for s in config["shots"])
        facts += [
            Fact("Data", f"{config['dataset']}: {count(len(config['class_names']), 'class', 'classes')}"),
            Fact("Learned from", f"draws of {count(config['train_pool'], 'labelled image')}"),
            *([Fact("Generated images", _beside(config))] if config.get("generated") else []),
            Fact("Scored on", f"{config['test']:,} {scored}, once, after fitting"),
            Fact("Labels per class", f"{shots}; validation: {_VALIDATION.get(config['validation'], '?')}"),
            Fact("Draws", _draws(config)),
            *prompts(config["templates"]),
            *identity(config["backbone"], config["backbone_digest"], config["dataset_digest"]),
            Fact("Time", f"{duration(config['seconds_prepare'])} features and texts, {duration(seconds)} all fits"),
            versions(config["versions"]),
        ]
    return tuple(facts)


def _beside(config: Mapping[str, Any]) -> str:
    return f"{config['generated']:,}, part of every support set and never counted as labels"


def _draws(config: Mapping[str, Any]) -> str:
    if config.get("protocol") == "coop":
        return f"{config['draws']}, by CoOp's convention (its seeds from 1)"
    return f"{config['draws']}, seed {config['seed']}"


def prompts(templates: list[str]) -> list[Fact]:
    """The prompt templates; of many, how many and the first."""
    if not templates:
        return []
    more = f" and {len(templates) - 1} more" if len(templates) > 1 else ""
    return [Fact("Prompts", f"{templates[0]}{more}")]


def identity(backbone: str, backbone_digest: str, dataset_digest: str) -> list[Fact]:
    """What tells this model and these data from others."""
    found = [Fact("Backbone", backbone, code=True)]
    for label, digest in (("Backbone digest", backbone_digest), ("Data digest", dataset_digest)):
        if digest:
            found.append(Fact(label, digest[:16], code=True))
    return found


def versions(found: Mapping[str, str]) -> Fact:
    """Versions of what ran."""
    return Fact("Versions", ", ".join(f"{name} {version}" for name, version in found.items()))


def shown(value: Any) -> str:
    """A hyper-parameter's value in few characters."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)
