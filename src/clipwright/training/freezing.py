"""Which parameters of a tower train: all, none, or its last blocks; and batch norms that keep their statistics."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from clipwright.core.errors import UsageError

_LAST = re.compile(r"last:(\d+)")
_PROJECTION = re.compile(r"proj$|projection$")


def _is_block(module: nn.Module) -> bool:
    """Whether a module has weights and parts: a residual block, say, but no single convolution or norm."""
    return next(module.children(), None) is not None and next(module.parameters(), None) is not None


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential) and len(module) > 0 and all(map(_is_block, module))


def blocks(tower: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a tower in order, by name: transformer layers, residual blocks.

    They are the entries of lists (`ModuleList`, `Sequential`) whose entries all have parts of their own. Of nested
    lists the innermost count (stages of blocks), and lists beside one another follow each other (a ResNet's layers).
    """
    lists = {name: module for name, module in tower.named_modules() if _is_list(module)}
    outer = {
        name for name in lists for other in lists if other != name and other.startswith(f"{name}." if name else "")
    }
    found = {}
    for name, module in lists.items():
        if name not in outer:
            found.update({f"{name}.{key}" if name else key: child for key, child in module.named_children()})
    return found


def last_blocks(tower: nn.Module, policy: str) -> dict[str, nn.Module]:
    """The blocks that ``last:K`` names.

    Raises:
        UsageError: the policy is no ``last:K``, the tower has no blocks, or fewer than K.
    """
    match = _LAST.fullmatch(policy)
    if match is None:
        raise UsageError(f"there is no policy {policy!r}: choose all, head, or last:K with a number K of blocks.")
    found, count = blocks(tower), int(match[1])
    if not found:
        raise UsageError(f"{type(tower).__name__} has no blocks to count: choose all or head instead of {policy}.")
    if not 1 <= count <= len(found):
        raise UsageError(
            f"{policy} asks for {count} blocks of {len(found)}: choose last:1 to last:{len(found)}, or all."
        )
    return dict(list(found.items())[-count:])


def from_block(tower: nn.Module, policy: str) -> set[str]:
    """Names of the modules that a tower runs from the first block of ``last:K`` on, as their order tells.

    Raises:
        UsageError: as `last_blocks`.
    """
    names = [name for name, _ in tower.named_modules()]
    return set(names[names.index(next(iter(last_blocks(tower, policy)))) :])


def _projects(name: str, block: str) -> bool:
    """Whether a bare parameter of the tower, which is listed before all blocks, is by its name a projection."""
    owner, _, own = name.rpartition(".")
    return (not owner or block.startswith(f"{owner}.")) and _PROJECTION.search(own) is not None


def choose_trainable(tower: nn.Module, policy: str = "all") -> list[str]:
    """Let some parameters of a tower train, and freeze the others.

    Args:
        tower: any image or text tower.
        policy: ``all``; ``head``, nothing of the tower; or ``last:K``, its last K blocks and what comes after them:
            norms, pools, projections.

    Returns:
        The names of the parameters that train.

    Raises:
        UsageError: an unknown policy, or more blocks than there are.
    """
    if policy in {"all", "head"}:
        chosen = {name for name, _ in tower.named_parameters()} if policy == "all" else set()
    else:
        late, first = from_block(tower, policy), next(iter(last_blocks(tower, policy)))
        chosen = {
            name for name, _ in tower.named_parameters() if name.rpartition(".")[0] in late or _projects(name, first)
        }
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(name in chosen)
    return [name for name, _ in tower.named_parameters() if name in chosen]


def _stay(module: nn.Module, _: Any) -> None:
    module.training = False


def freeze_statistics(module: nn.Module) -> Callable[[], None]:
    """Keep the running statistics of all batch norms, whatever ``train()`` says; their scales and shifts still train.

    Returns:
        A function that lets them go again.
    """
    handles = [m.register_forward_pre_hook(_stay) for m in module.modules() if isinstance(m, _BatchNorm)]

    def release() -> None:
        for handle in handles:
            handle.remove()

    return release
