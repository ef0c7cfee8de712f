"""Digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.hashing import digest_file, digest_json, sampled_digest

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=5))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert digest_json(value) == digest_json(dict(reversed(value.items())))


@given(_JSON)
def test_any_change_shows(value: object) -> None:
    assert digest_json(value) != digest_json([value])
    assert digest_json({"a": value}) != digest_json({"b": value})


def test_digests_never_change() -> None:
    text = '{"a":[1,null],"b":"ü"}'
    assert digest_json({"b": "ü", "a": [1, None]}) == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_json(float("nan"))
    with pytest.raises(TypeError):
        digest_json(object())


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, 5 << 19])
def test_files_of_any_size(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert digest_file(tmp_path / "file") == hashlib.sha256(data[:size]).hexdigest()


def test_a_sampled_digest_sees_the_size_and_some_of_the_bytes(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"abc")
    first = sampled_digest(small)
    small.write_bytes(b"abd")
    assert sampled_digest(small) != first
    blob = bytearray(40 << 20)
    large.write_bytes(blob)
    whole = sampled_digest(large)
    assert sampled_digest(large) == whole
    blob[0] = 1
    large.write_bytes(blob)
    assert sampled_digest(large) != whole
    small.write_bytes(b"")
    assert sampled_digest(small) != first
