"""What a comparison runs: which methods with which labels, at which numbers of shots, on which draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clipwright.core.errors import UsageError
from clipwright.core.hashing import digest_json
from clipwright.methods.base import Method
from clipwright.protocol.calibrate import uses_labels
from clipwright.protocol.coop import SEEDS
from clipwright.protocol.draws import VALIDATION_CAP, Short
from clipwright.task import Need

Validation = Literal["none", "few-shot", "full"]
Protocol = Literal["draws", "coop"]
Methods = Sequence[Method] | Mapping[str, Method]

VALIDATED = "+val"
"""What the name of a method ends in where it was given validation labels."""


@dataclass(frozen=True)
class Arm:
    """A method as it is run.

    Attributes:
        name: what results call it.
        method: the configured method.
        validation: which validation labels it is given.
    """

    name: str
    method: Method
    validation: Validation = "none"

    @property
    def nameless(self) -> bool:
        """Whether no label can change what it fits."""
        return not uses_labels(self.method)

    def describe(self) -> dict[str, Any]:
        """JSON that tells this arm from others."""
        return {
            "method": type(self.method).__name__,
            "hyper_parameters": json.loads(json.dumps(self.method.hyper_parameters(), default=str)),
            "validation": self.validation,
        }


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        arms: methods as they are run.
        shots: labels per class, ascending; 0 = none.
        draws: how many support sets per number of shots.
        seed: all draws and fits come from it.
        validation: ``none``; ``few-shot``: methods that can choose on validation labels are run a second time, with
            min(shots, 4) further labels per class; or ``full``: with the data's whole validation split.
        protocol: ``draws`` (nested draws by row identifier), or ``coop`` (CoOp's convention: seeds 1, 2, 3).
        short: what to do with a class that has fewer images than shots: ``refuse``, or take ``all``.
        calibrate: also fit a temperature out of fold, at the cost of five more fits per cell.
        keep: predictions of the first `keep` draws are kept.
        zero: whether 0 shots were asked for, so that methods that can do without labels are run there too.
        generated: whether generated images stand beside every support set, so that those that need labels are too.
    """

    arms: tuple[Arm, ...]
    shots: tuple[int, ...]
    draws: int
    seed: int = 0
    validation: Validation = "none"
    protocol: Protocol = "draws"
    short: Short = "refuse"
    calibrate: bool = False
    keep: int = 1
    zero: bool = False
    generated: bool = False

    def shots_of(self, arm: Arm) -> tuple[int, ...]:
        """Labels per class at which an arm is run.

        Beside few-shot validation, arms that are given none are also run at k + min(k, 4) labels, so that they can be
        compared at equal numbers of labels. Generated images are no labels: at 0 shots they are all there is.
        """
        if arm.nameless:
            return (0,)
        asked = {k for k in self.shots if k > 0}
        if arm.validation != "none":
            return tuple(sorted(asked))
        beside = self.validation == "few-shot" and self.protocol == "draws"
        if beside:
            asked |= {equal_labels(k) for k in asked}
        if self.zero and (self.generated or (not beside and Need.LABELS not in arm.method.requires().needs)):
            asked.add(0)
        return tuple(sorted(asked))

    def describe(self) -> dict[str, Any]:
        """What a run's configuration says of the plan, as JSON."""
        return {
            "methods": {arm.name: arm.describe() for arm in self.arms},
            "shots": list(self.shots),
            "draws": self.draws,
            "seed": self.seed,
            "validation": self.validation,
            "protocol": self.protocol,
            "short": self.short,
            "calibrate": self.calibrate,
        }

    def cell_digest(self, arm: Arm) -> str:
        """What a finished cell of an arm depends on, of all that a plan says."""
        left = [max(self.shots, default=0), self.validation]  # which images a draw leaves, where there is no test split
        return digest_json([arm.describe(), self.seed, self.protocol, self.short, self.calibrate, left])


def equal_labels(shots: int) -> int:
    """Labels per class that a method uses which takes few-shot validation: k + min(k, 4)."""
    return shots + min(shots, VALIDATION_CAP)


def make_plan(
    methods: Methods,
    shots: Sequence[int],
    draws: int | None = None,
    *,
    validation: Validation = "none",
    protocol: Protocol = "draws",
    **more: Any,
) -> Plan:
    """A plan, checked.

    Args:
        methods: configured methods, or a mapping that names them.
        shots: labels per class; 0 runs the methods that can do without labels.
        draws: support sets per number of shots; by default 10, and 3 in CoOp's convention.
        validation: as in `Plan`.
        protocol: as in `Plan`.
        more: further fields of `Plan`.

    Raises:
        UsageError: no methods, shots or draws, or two methods of one name.
    """
    pairs = list(methods.items()) if isinstance(methods, Mapping) else [(type(m).__name__, m) for m in methods]
    named = dict(pairs)
    if not named:
        raise UsageError("there are no methods to run: name at least one.")
    if len(named) < len(pairs):
        raise UsageError("two configurations of one method need names: give a mapping of names to methods.")
    if draws is not None and draws < 1:
        raise UsageError(f"at least one draw is needed; draws is {draws}.")
    if not shots or min(shots) < 0:
        raise UsageError(f"shots must be numbers of labels per class, none negative; they are {list(shots)}.")
    arms = tuple(arm for name, method in named.items() for arm in _arms(name, method, validation))
    wanted = set(shots) | ({0} if any(arm.nameless for arm in arms) else set())
    count = draws or (len(SEEDS) if protocol == "coop" else 10)
    zero = 0 in shots
    return Plan(arms, tuple(sorted(wanted)), count, validation=validation, protocol=protocol, zero=zero, **more)


def _arms(name: str, method: Method, validation: Validation) -> list[Arm]:
    plain = Arm(name, method)
    if validation == "none" or Need.VALIDATION not in method.requires().optional:
        return [plain]
    return [plain, Arm(name + VALIDATED, method, validation)]
