from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.serve.refused import Refused
from clipwright.serve.shelf import Shelf


def handles(count: int, start: int = 0) -> list[str]:
    return [f"{number:064x}" for number in range(start, start + count)]


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.manual_seed(seed))


def test_rows_come_back_by_handle_in_any_order() -> None:
    shelf, x = Shelf(4, "d"), rows(3000)
    shelf.add(handles(3000), x)  # more than there is room for at first
    assert len(shelf) == 3000
    asked = [2999, 0, 0, 1500]
    assert torch.equal(shelf.rows([handles(3000)[i] for i in asked]), x[asked])


def test_the_first_features_of_an_image_stay() -> None:
    shelf, x = Shelf(4, "d"), rows(2)
    shelf.add(handles(2), x)
    shelf.add([*handles(1), *handles(1, 5)], rows(2, seed=1))
    assert torch.equal(shelf.rows(handles(2)), x)
    assert len(shelf) == 3


def test_unknown_handles_are_counted_and_named() -> None:
    shelf = Shelf(4, "d")
    shelf.add(handles(1), rows(1))
    with pytest.raises(Refused, match="2 of 3 images are not known here: send them to /images first") as caught:
        shelf.rows([*handles(3), *handles(3)])
    assert (caught.value.status, caught.value.code) == (404, "unknown_handles")
    assert caught.value.details == {"handles": handles(2, 1)}


def test_no_more_than_may_be_remembered() -> None:
    shelf = Shelf(4, "d", most=2)
    shelf.add(handles(2), rows(2))
    shelf.add(handles(2), rows(2))
    with pytest.raises(Refused, match="remembers 2 images and has no room for 1 more: raise --max-images") as caught:
        shelf.add(handles(1, 2), rows(1))
    assert caught.value.status == 507


def test_a_restart_finds_what_was_written(tmp_path: Path) -> None:
    first, x = Shelf(4, "digest", tmp_path), rows(5)
    first.add(handles(3), x[:3])
    first.add(handles(2, 3), x[3:])
    second = Shelf(4, "digest", tmp_path)
    assert torch.equal(second.rows(handles(5)), x)
    second.add(handles(1, 5), rows(1))
    assert len(list(tmp_path.rglob("*.bin"))) == 2  # every process its own
    assert len(Shelf(4, "digest", tmp_path)) == 6
    assert len(Shelf(4, "other model", tmp_path)) == 0
    assert len(Shelf(4, "digest")) == 0


@pytest.mark.parametrize("kept", [0, 1, 30, 51])
def test_a_row_that_a_kill_tore_is_passed_over(kept: int, tmp_path: Path) -> None:
    shelf, x = Shelf(4, "digest", tmp_path), rows(2)
    shelf.add(handles(2), x)
    path = next(tmp_path.rglob("*.bin"))
    size = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[: size + kept])
    again = Shelf(4, "digest", tmp_path)
    assert len(again) == 1
    assert torch.equal(again.rows(handles(1)), x[:1])


def test_a_damaged_row_is_passed_over(tmp_path: Path) -> None:
    shelf, x = Shelf(4, "digest", tmp_path), rows(3)
    shelf.add(handles(3), x)
    path = next(tmp_path.rglob("*.bin"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 + 40] ^= 1
    path.write_bytes(data)
    again = Shelf(4, "digest", tmp_path)
    assert [handle in again for handle in handles(3)] == [True, False, True]


def test_after_a_failed_write_a_new_file_is_begun(tmp_path: Path) -> None:
    shelf, x = Shelf(4, "digest", tmp_path), rows(3)
    shelf.add(handles(1), x[:1])
    path = next(tmp_path.rglob("*.bin"))
    data = path.read_bytes()
    path.unlink()
    path.mkdir()  # so that it can't be written
    with pytest.raises(OSError, match="directory"):
        shelf.add(handles(1, 1), x[1:2])
    assert handles(1, 1)[0] not in shelf
    path.rmdir()
    path.write_bytes(data + b"torn")
    shelf.add(handles(1, 2), x[2:])
    again = Shelf(4, "digest", tmp_path)
    assert torch.equal(again.rows([handles(1)[0], *handles(1, 2)]), x[[0, 2]])
