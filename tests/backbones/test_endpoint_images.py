from __future__ import annotations

import numpy as np

from clipwright.backbones.endpoint_images import Outbox
from clipwright.core.home import home

SHAPE = (3, 4, 5)


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def test_pixels_are_kept_by_handle() -> None:
    outbox, given = Outbox("server", SHAPE), pixels(5)
    outbox.keep(list("abc"), given[:3])
    outbox.keep(list("bde"), given[[0, 3, 4]])  # b stays what it was
    np.testing.assert_array_equal(outbox.pixels(list("eabbd")), given[[4, 0, 1, 1, 3]])
    assert outbox.has("a")
    assert not outbox.has("x")


def test_what_was_sent_is_remembered_by_server() -> None:
    outbox = Outbox("server", SHAPE)
    assert outbox.unsent("aba") == ["a", "b"]
    outbox.mark(["a"])
    outbox.mark(["a", "c"])
    assert outbox.unsent("abc") == ["b"]
    assert Outbox("server", SHAPE).unsent("abc") == ["b"]  # a later run
    assert Outbox("other", SHAPE).unsent("abc") == ["a", "b", "c"]


def test_a_torn_line_costs_no_more_than_its_images() -> None:
    outbox = Outbox("server", SHAPE)
    outbox.mark(["a"])
    outbox.mark(["b"])
    path = next((home() / "answers" / "sent").iterdir())
    path.write_bytes(path.read_bytes()[:-5] + b'\n{"handles": 7}\n[1]\n')
    later = Outbox("server", SHAPE)
    assert later.unsent("ab") == ["b"]
    later.mark(["b"])
    assert Outbox("server", SHAPE).unsent("ab") == []
