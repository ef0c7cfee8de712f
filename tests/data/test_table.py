"""CSV, TSV and Parquet tables, and "path label" lists."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.data import Dataset, open_data
from clipwright.data.table import Row, parse_line, read_list, read_table

Plant = Callable[..., Path]

FILES = ["x/1.png", "x/2.png", "3.png", "4.png"]


def content(data: Dataset) -> dict[str, tuple[str, str]]:
    names = (*data.class_names, "")
    return {i: (names[label], str(split)) for i, label, split in zip(data.ids, data.labels, data.splits, strict=True)}


EXPECTED = {
    "x/1.png": ("polar bear", "train"),
    "x/2.png": ("ant", "test"),
    "3.png": ("", ""),
    "4.png": ("ant", "val"),
}


@pytest.mark.parametrize(("suffix", "sep"), [("csv", ","), ("csv", ";"), ("tsv", "\t"), ("csv", "\t")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(suffix: str, sep: str, encoding: str, end: str, plant: Plant) -> None:
    rows = [["Path", " label", "Split"], ["x/1.png", "polar_bear", "train"], ["x/2.png", " ant ", "Testing"]]
    rows += [["3.png", "", ""], ["4.png", "ant", "valid"]]
    path = plant(FILES) / f"t.{suffix}"
    path.write_text(end.join(sep.join(row) for row in rows) + end + end, encoding=encoding, newline="")
    data = open_data(path)
    assert content(data) == EXPECTED
    assert data.ids == list(EXPECTED)
    assert data.class_names == ("ant", "polar bear")
    assert data.reader is not None
    assert data.reader.read(data.table["source"][0].as_py()).image.size == (4, 4)


def test_parquet(plant: Plant) -> None:
    path = plant(FILES) / "t.parquet"
    columns = {
        "file_name": FILES,
        "category": pa.array(["polar_bear", "ant", None, "ant"]).dictionary_encode(),
        "split": ["train", "test", None, "val"],
        "embedding": [[1.0]] * 4,
    }
    pq.write_table(pa.table(columns), path)
    assert content(open_data(path)) == EXPECTED


@pytest.mark.parametrize(
    "labels", [[10, 9, None, 9], [10.0, 9.0, float("nan"), 9.0], ["10", "9", "", "9"], [10, 9, -1, 9]]
)
def test_numbers_as_labels(labels: list[object], plant: Plant) -> None:
    path = plant(FILES) / "t.parquet"
    pq.write_table(pa.table({"path": FILES, "label": labels}), path)
    data = open_data(path)
    assert data.class_names == ("9", "10")
    assert data.labels.tolist() == [1, 0, -1, 0]
    names = [f"n{i}" for i in range(11)]
    with pytest.raises(DataError, match="not clear whether counting begins at 0 or 1"):
        open_data(path, names)
    assert open_data(path, names[:10]).labels.tolist() == [9, 8, -1, 8]  # 10 of 10 can only count from 1
    listed = path.with_name("names.txt")
    listed.write_text("\n".join(f"{i} n{i}" for i in range(11)))
    assert [name for name, _ in content(open_data(path, listed)).values()] == ["n10", "n9", "", "n9"]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a.jpg 3", Row("a.jpg", "3")),
        ("dir one/b c.JPG  polar bear ", Row("dir one/b c.JPG", "polar bear")),
        ("a.jpg", Row("a.jpg")),
        ("with space.png", Row("with space.png")),
        ("noextension 7", Row("noextension", "7")),
        ("a\tpolar bear", Row("a", "polar bear")),
        ("a b.jpg\tcat\ttest", Row("a b.jpg", "cat", "test")),
        ("-rf.png -1", Row("-rf.png", "-1")),
        ("a.jpg b.jpg 3", Row("a.jpg b.jpg", "3")),
        ("#1.png x", Row("#1.png", "x")),
    ],
)
def test_lines_of_a_list(line: str, row: Row) -> None:
    assert parse_line(line) == row


def test_list(plant: Plant) -> None:
    path = plant(FILES) / "t.txt"
    path.write_text("x/1.png 1\r\nx/2.png 0\n\n3.png\n4.png 0\n")
    data = open_data(path, ["ant", "bee"])
    assert content(data) == {"x/1.png": ("bee", ""), "x/2.png": ("ant", ""), "3.png": ("", ""), "4.png": ("ant", "")}


def test_paths_may_be_absolute_or_lead_up(plant: Plant, tmp_path: Path) -> None:
    root = plant(FILES)
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables/t.csv"
    path.write_text(f"path,label\n{root / '3.png'},a\n../data/./4.png,b\n")
    data = open_data(path)
    assert data.ids == [str(root / "3.png"), "../data/4.png"]
    assert data.reader is not None
    assert [data.reader.read(s).image.size for s in data.table["source"].to_pylist()] == [(4, 4)] * 2
    path.write_text("path,label\n3.png,a\n4.png,b\n")
    assert open_data(path, root=root).ids == ["3.png", "4.png"]
    with pytest.raises(DataError, match=r"none of the 2 images of t.csv are there \(such as '3.png'\).*root"):
        open_data(path)


def test_missing_and_repeated_rows_are_left_out_and_noted(plant: Plant) -> None:
    path = plant(FILES) / "t.csv"
    path.write_text("path,label\n3.png,a\n./3.png,a\n4.png,b\ngone.png,b\nx,b\n,a\n")
    data = open_data(path)
    assert data.ids == ["3.png", "4.png"]
    assert data.notes == (
        "Skipped 2 images of t.csv: no such file ('gone.png', 'x').",
        "Left out 1 row of t.csv repeated word for word.",
        "Left out 1 row of t.csv without a path.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,label\n", "has no rows"),
        ("3.png,a\n4.png,b\n", r"no column for the image's path, only '3.png', 'a'"),
        ("path,label\n3.png,a\n3.png,b\n", "two labels, 'a' and 'b'"),
        ("path,label,split\n3.png,a,train\n3.png,a,test\n", "two splits, 'train' and 'test'"),
        ("path,label,split\n3.png,a,fold1\n", "split 'fold1': use train, val, test or generated"),
        ("path,label\n3.png,a,b\n", "row 1 of t.csv has 3 fields"),
        ('path,label\n"3.png,a\n', "can't be read as a table"),
        ("path\n3.png\n", "no row of t.csv has a label"),
        ("path,label\n3.png,a_b\n4.png,a b\n", "'a b' to more than one class"),
    ],
)
def test_tables_that_cannot_be_used(text: str, message: str, plant: Plant) -> None:
    path = plant(FILES) / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_data(path)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.parquet"])
def test_bytes_that_are_no_table(name: str, plant: Plant) -> None:
    path = plant(FILES) / name
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(DataError, match=r"not UTF-8|Parquet"):
        open_data(path)


def test_labels_for_part_of_the_rows_with_classes(plant: Plant) -> None:
    path = plant(FILES) / "t.csv"
    path.write_text("path,label\nx/1.png,unlabeled\nx/2.png,ANT\n3.png,\n4.png,bee\n")
    assert open_data(path, ["bee", "ant"]).labels.tolist() == [-1, 1, -1, 0]
    assert open_data(path, ["c", "d"], labels=False).labels.tolist() == [-1] * 4


def test_a_pipe_in_a_table_is_not_opened(plant: Plant) -> None:
    root = plant(FILES)
    os.mkfifo(root / "pipe.png")
    (root / "t.csv").write_text("path,label\n3.png,a\npipe.png,b\n4.png,c\n")
    assert open_data(root / "t.csv").ids == ["3.png", "4.png"]


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), max_size=8)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from(["csv", "tsv"]))
def test_csv_cells_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerows([("path", "label", "split"), *rows])
    assert read_table(path) == [Row(p, label.strip(), split.strip()) for p, label, split in rows]


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_parquet_cells_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    columns = {
        name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(("label", "path", "split"))
    }
    pq.write_table(pa.table(columns), path)
    assert read_table(path) == [Row(p, label.strip(), split.strip()) for label, p, split in rows]


WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)


@given(st.lists(WORD, min_size=1, max_size=3), st.lists(WORD, min_size=1, max_size=3))
def test_list_lines_come_back(path: list[str], label: list[str]) -> None:
    """A path with spaces and an image's extension is told from a label with spaces, unless that looks like a file."""
    text = " ".join(label)
    if ".jpg" not in text.lower() and "." not in text:
        assert parse_line(f"{' '.join(path)}.jpg {text}") == Row(f"{' '.join(path)}.jpg", text)
    assert parse_line(f"{' '.join(path)}\t{text}\ttrain") == Row(" ".join(path), text, "train")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for name, read in (("any.csv", read_table), ("any.txt", read_list)):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(b"path,label\n" + data)
        try:
            rows = read(path)
        except DataError as error:
            assert str(error).endswith(".")  # noqa: PT017 - either outcome is right
        else:
            assert all(isinstance(row, Row) for row in rows)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(4)))
def test_labels_do_not_depend_on_the_order_of_rows(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    root = tmp_path_factory.getbasetemp()
    rows = [("1.png", "zebra"), ("2.png", "ant"), ("3.png", ""), ("4.png", "zebra")]
    for name, _ in rows:
        (root / name).touch()
    (root / "order.csv").write_text("path,label\n" + "".join(f"{rows[i][0]},{rows[i][1]}\n" for i in order))
    data = open_data(root / "order.csv")
    assert data.class_names == ("ant", "zebra")
    assert {i: label for i, (label, _) in content(data).items()} == dict(rows)
