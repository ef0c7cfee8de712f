"""Labels are tied to names, never to positions in sorted order."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.core.spelling import match_key
from clipwright.data.names import ClassList, Resolved, read_classes, rename, resolve


def file_of(tmp_path: Path, text: str) -> ClassList:
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    found = read_classes(path)
    assert found is not None
    return found


def tied(found: Resolved) -> dict[str, str]:
    return {key: found.class_names[i] for key, i in found.index.items()}


def test_numbers_sort_as_numbers() -> None:
    assert resolve({"10", "9", "1", "2"}).class_names == ("1", "2", "9", "10")
    assert "--classes" in resolve({"10", "9"}).notes[-1]
    assert resolve({"10", "b", "9"}).class_names == ("10", "9", "b")


def test_names_file_in_index_order_for_numeric_folders(tmp_path: Path) -> None:
    names = file_of(tmp_path, "\n".join(f"class {i}" for i in range(12)) + "\n\n")
    found = resolve({str(i) for i in range(12)}, names)
    assert tied(found) == {str(i): f"class {i}" for i in range(12)}
    assert tied(resolve({"0", "11", "5"}, names)) == {"0": "class 0", "5": "class 5", "11": "class 11"}
    assert tied(resolve({f"{i:03d}" for i in range(1, 13)}, names)) == {f"{i + 1:03d}": f"class {i}" for i in range(12)}


def test_numbers_with_gaps_are_told(tmp_path: Path) -> None:
    found = resolve({"30", "4", "200"}, file_of(tmp_path, "a\nb\nc"))
    assert tied(found) == {"4": "a", "30": "b", "200": "c"}
    assert "gaps" in found.notes[0]


@pytest.mark.parametrize("numbers", [{"1", "2"}, {"3", "9"}, {"1", "01", "2"}])
def test_unclear_numbers_are_refused(numbers: set[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not clear whether|same number"):
        resolve(numbers, file_of(tmp_path, "a\nb\nc"))


def test_named_folders_match_by_cleaned_name_in_the_files_order(tmp_path: Path) -> None:
    folders = {"polar_bear", unicodedata.normalize("NFD", "Café"), "T-Shirt"}
    found = resolve(folders, file_of(tmp_path, "t_shirt\nzebra\nPolar Bear\ncafé\n"))
    assert found.class_names == ("t shirt", "zebra", "Polar Bear", "café")
    assert {match_key(key): name for key, name in tied(found).items()} == {
        "polar bear": "Polar Bear",
        "café": "café",
        "t shirt": "t shirt",
    }


def test_sorted_order_never_stands_in_for_names(tmp_path: Path) -> None:
    """Three folders and three names that don't match: not a guess, an error that shows the way out."""
    with pytest.raises(
        DataError, match=r"3 of 3 folders have no class in names.txt \('a', 'b', 'c'\).*<folder> <class name>"
    ):
        resolve({"a", "b", "c"}, file_of(tmp_path, "cat\ndog\nfox"))


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_mapping_file(separator: str, tmp_path: Path) -> None:
    text = f"n02{separator}goldfish\r\nn01{separator}tench, Tinca tinca\r\nn03{separator}hen\r\n"
    found = resolve({"n01", "n02"}, file_of(tmp_path, text))
    assert found.class_names == ("goldfish", "tench, Tinca tinca")
    assert tied(found) == {"n01": "tench, Tinca tinca", "n02": "goldfish"}
    assert "Left out 1 line" in found.notes[-1]


def test_mapping_file_with_spaces_in_folders(tmp_path: Path) -> None:
    found = resolve(
        {"new york", "new york city"}, file_of(tmp_path, "new york Staat New York\nnew york city Big Apple")
    )
    assert tied(found) == {"new york": "Staat New York", "new york city": "Big Apple"}


def test_whole_lines_come_before_first_words(tmp_path: Path) -> None:
    found = resolve({"polar bear", "polar fox"}, file_of(tmp_path, "polar bear\npolar fox"))
    assert tied(found) == {"polar bear": "polar bear", "polar fox": "polar fox"}


def test_numeric_mapping_need_not_be_in_order(tmp_path: Path) -> None:
    assert tied(resolve({"1", "0"}, file_of(tmp_path, "1 dog\n0 cat"))) == {"0": "cat", "1": "dog"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n01440764 tench\nn01443537 goldfish", ("tench", "goldfish")),
        ("0 tench\n1 goldfish", ("tench", "goldfish")),
        ("polar bear\nbrown bear", ("polar bear", "brown bear")),
        ("\ufefftench\ngoldfish\n", ("tench", "goldfish")),
    ],
)
def test_a_list_without_folders(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    assert resolve((), file_of(tmp_path, text)).class_names == names


def test_mappings_and_sequences_from_python() -> None:
    assert tied(resolve({"a", "b"}, read_classes({"b": "Bär", "a": "ape"}))) == {"a": "ape", "b": "Bär"}
    assert resolve((), read_classes(["0 x", "1 y"])).class_names == ("0 x", "1 y")
    with pytest.raises(DataError, match="1 of 2 folders have no class"):
        resolve({"a", "b"}, read_classes({"a": "ape"}))
    with pytest.raises(DataError, match="empty"):
        read_classes([])


@pytest.mark.parametrize(
    ("keys", "lines", "message"),
    [
        ({"polar_bear", "polar bear"}, None, r"the folders would give 'polar bear' to more than one class.*differ"),
        ({"0", "1"}, "crane\ncrane", "would give 'crane' to more than one class"),
        ({"___"}, None, "nothing left after cleaning"),
        ({"Dog", "dog"}, "dog\ncat", "all mean the class 'dog'|no class in"),
        ({"a"}, "a x\na y", "a second time"),
    ],
)
def test_what_is_ambiguous_is_refused(keys: set[str], lines: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        resolve(keys, None if lines is None else file_of(tmp_path, lines))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"a\n\nb", "line 2 .* is empty"), (b"\xff\xfe\x00", "not UTF-8"), (None, "can't be read")],
)
def test_class_files_that_cannot_be_used(data: bytes | None, message: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "names.txt").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path / "names.txt")


def test_cleaning_can_be_left_out() -> None:
    assert resolve({"polar_bear", "polar bear"}, clean=False).class_names == ("polar bear", "polar_bear")


def test_rename() -> None:
    assert rename(("a", "b"), read_classes(["x", "y"])) == ("x", "y")
    assert rename(("a", "b"), read_classes({"b": "Bär", "a": "ape"})) == ("ape", "Bär")
    assert rename(("a b", "b"), read_classes(["A_b", "B"])) == ("A b", "B")
    with pytest.raises(DataError, match="another order"):
        rename(("a", "b"), read_classes(["b", "a"]))
    with pytest.raises(DataError, match="3 names but the data has 2 classes"):
        rename(("a", "b"), read_classes(["x", "y", "z"]))


@given(st.permutations(["n1", "n2", "n3", "n4"]), st.permutations(["n4 d", "n1 a", "n3 c", "n2 b"]))
def test_order_of_keys_and_of_mapping_lines_does_not_matter(keys: list[str], lines: list[str]) -> None:
    found = resolve(dict.fromkeys(keys), ClassList(tuple(lines), is_file=True))
    assert tied(found) == {"n1": "a", "n2": "b", "n3": "c", "n4": "d"}


def test_a_mapping_tells_folders_of_one_name_apart(tmp_path: Path) -> None:
    """ImageNet's classnames.txt has "missile" and "sunglasses" twice."""
    path = tmp_path / "classnames.txt"
    path.write_text("n03773504 missile\nn04008634 missile\nn04355933 sunglasses\nn01440764 tench\n", encoding="utf-8")
    found = resolve(["n01440764", "n04008634", "n03773504", "n04355933"], read_classes(path))
    assert found.class_names == ("missile (n03773504)", "missile (n04008634)", "sunglasses", "tench")
    assert any("stood for several folders" in note for note in found.notes)
