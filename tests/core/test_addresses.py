from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.addresses import Address, check_address
from clipwright.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://127.0.0.1:8000", Address("http://127.0.0.1:8000", "127.0.0.1", secure=False)),
        (" https://models.example/v1/ ", Address("https://models.example/v1", "models.example", secure=True)),
        ("HTTP://[::1]:80", Address("http://[::1]:80", "::1", secure=False)),
    ],
)
def test_addresses(text: str, wanted: Address) -> None:
    assert check_address(text) == wanted
    assert wanted.local == (wanted.host != "models.example")


BAD = ["x", "ftp://x", "http://", "http://x?y=1", "http://x#y", "http://[", "http://x:port", "file:///etc"]
WORSE = ["", "http://x:", "http://x:99999", "http://x/<script>", "http://a b", "http://x/a b", "http://x\x00y"]


@pytest.mark.parametrize("text", BAD + WORSE)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no address of a server: write http"):
        check_address(text)


def test_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError, match="no user name and no password") as caught:
        check_address("http://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


@given(st.text().map("http://".__add__))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = check_address(text)
    except UsageError:
        return
    assert check_address(found.text) == found
