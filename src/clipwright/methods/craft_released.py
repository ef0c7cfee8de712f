"""CraFT as its authors released it: the settings of each data set, and what their names are here."""

from __future__ import annotations

from typing import Any, NamedTuple

from clipwright.core.errors import UsageError
from clipwright.methods.craft import CraFT, default_budget


class Setting(NamedTuple):
    """What a released configuration sets, by its own names."""

    bound: float
    sigma: float
    n: int
    std: float
    weight: float
    batch_size: int = 256


RELEASED: dict[str, Setting] = {
    "caltech101": Setting(5, 1, 4, 0.2, 0.1),
    "dtd": Setting(5, 0.02, 1, 1, 0.001),
    "eurosat": Setting(5, 0.02, 1, 1, 0.01),
    "fgvc_aircraft": Setting(0, 0.02, 4, 0.2, 0.1),
    "food101": Setting(0, 1, 1, 0.2, 1),
    "imagenet": Setting(0, 1, 1, 1, 0),
    "oxford_flowers": Setting(5, 1, 4, 0.2, 0.1),
    "oxford_pets": Setting(5, 0.02, 1, 0.2, 0.1, 64),
    "stanford_cars": Setting(5, 1, 4, 0.2, 0.1),
    "sun397": Setting(5, 1, 4, 0.2, 0.1),
    "ucf101": Setting(5, 1, 4, 0.2, 0.1),
}
"""By data set. The same for every number of labels; no search for them was released."""

LEGACY: dict[str, Any] = {
    "working": "fresh",
    "legacy_random_head": True,
    "legacy_unnormalised_head": True,
    "legacy_augmented_fitness": True,
}
"""What the released code does differently, for all data sets but ImageNet."""

NAMES: dict[str, str] = {
    "bound": "bound",
    "sigma": "sigma",
    "std": "std",
    "weight": "weight",
    "n": "until",
    "intrinsic_dim": "intrinsic_dim",
    "popsize": "popsize",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "parallel": "parallel",
    "budget": "budget",
}
"""Keys of the released configurations, and the fields of `CraFT` that they set."""

UNREAD = (
    "n_prompt_tokens",
    "alpha",
    "print_every",
    "eval_every",
    "train_epoch",
    "alphas",
    "betas",
    "shots",
    "backbone",
)
"""Keys of the released configurations that set nothing of the method: most of them are read nowhere."""


def released(dataset: str, shots: int, **changes: Any) -> CraFT:
    """CraFT with the settings and the behaviour that were released for a data set.

    Args:
        dataset: a key of `RELEASED`.
        shots: labels per class, from which the budget follows.
        changes: fields that are to differ.

    Raises:
        UsageError: nothing was released for this data set.
    """
    if dataset not in RELEASED:
        raise UsageError(f"no settings were released for {dataset!r}: choose one of {', '.join(RELEASED)}.")
    setting = RELEASED[dataset]
    fields: dict[str, Any] = {NAMES[key]: value for key, value in setting._asdict().items()}
    fields |= {"optimizer": "pycma", "budget": default_budget(shots), **LEGACY}
    if dataset == "imagenet":
        fields |= {"hidden": 512, "working": "best", "projection": "uniform", "budget": min(4000, fields["budget"])}
    return CraFT(**fields | changes)


def from_config(values: dict[str, Any]) -> CraFT:
    """CraFT with the values of a released configuration file, its behaviour included.

    Args:
        values: its keys and values, as a YAML reader gives them.

    Raises:
        UsageError: a key that no released configuration has.
    """
    unknown = [key for key in values if key not in NAMES and key not in UNREAD]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no key of CraFT's configurations: they have {', '.join(NAMES)}.")
    return CraFT(**LEGACY | {"optimizer": "pycma"} | {NAMES[k]: v for k, v in values.items() if k in NAMES})
