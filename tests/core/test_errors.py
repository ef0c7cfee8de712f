"""Everything a user may see derives from one class."""

from __future__ import annotations

import inspect

from clipwright.core import errors


def test_all_errors_derive_from_one_and_say_when() -> None:
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(found) >= 7
    assert all(issubclass(c, errors.ClipwrightError) and c.__doc__ for c in found)
