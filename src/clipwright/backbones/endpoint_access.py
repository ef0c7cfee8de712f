"""What a black box grants, what works with that, and what to say where it is not enough."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from clipwright.core.errors import NeedsError
from clipwright.task import Access

WORKS: tuple[tuple[frozenset[Access], str], ...] = (
    (frozenset({Access.FEATURES}), "every method that asks for features"),
    (frozenset({Access.SOFT_PROMPT, Access.SCORES}), "CraFT"),
    (frozenset({Access.SCORES}), "CraFT with parts=head"),
    (frozenset({Access.SCORES}), "ScoreScaling"),
)
"""Methods by the access that they need; a test holds this to the catalogue, which this room may not import."""


def works_with(granted: AbstractSet[Access]) -> list[str]:
    """Methods that run with what is granted."""
    return [method for needed, method in WORKS if needed <= granted]


def not_granted(spec: str, granted: AbstractSet[Access], *needed: Access) -> NeedsError:
    """What to say where an endpoint is asked for more than it gives.

    Args:
        spec: the endpoint.
        granted: what it grants.
        needed: what was to be asked of it.
    """
    lacking = [access for access in needed if access not in granted]
    able = " or ".join(works_with(granted))
    grants = ", ".join(sorted(granted)) or "nothing"
    return NeedsError(
        f"{spec} does not grant {' and '.join(lacking)}; it grants {grants}, with which "
        f"{f'{able} would run' if able else 'no method runs'}: use that, or have it served with --access "
        f"{','.join(sorted({*granted, *lacking}))}."
    )


def require(spec: str, granted: AbstractSet[Access], *needed: Access) -> None:
    """Refuse to ask an endpoint for what it doesn't grant.

    Raises:
        NeedsError: says what is missing and what runs without it.
    """
    if not set(needed) <= granted:
        raise not_granted(spec, granted, *needed)
