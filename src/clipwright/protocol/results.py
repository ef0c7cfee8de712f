"""What runs yield: one row per cell, what was run beside it, and the means, intervals and ties of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clipwright.core.atomic import atomic_file, write_json
from clipwright.core.errors import DataError, FormatError
from clipwright.core.intervals import Interval, over_draws_and_samples, paired_shares
from clipwright.protocol.schema import CELLS, PREDICTIONS

KIND = "clipwright-results"
FORMAT = 1
Group = tuple[str, str]
"""Data set and backbone: accuracies are only comparable within one."""

_CellKey = tuple[str, str, str, int]  # data set, backbone, method, shots
_CONFIG, _CELLS, _PREDICTIONS = "runs.json", "results.parquet", "predictions.parquet"


@dataclass(frozen=True)
class Summary:
    """One method at one number of shots, over its draws.

    Attributes:
        dataset: name of the data set.
        backbone: identifier of the backbone.
        method: the method's name.
        shots: labels per class asked for, 0 = none.
        draws: how many support sets were drawn; 1 for a method that looks at no labels.
        mean: mean top-1 accuracy, 0 to 1.
        low: lower end of its 95 % interval over draws and test images.
        high: upper end.
        labels_per_class: labels used per class on average, validation included.
        n_test: test images per draw.
        macro: mean of the per-class accuracies.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error.
        seconds_fit: median wall time of a fit.
        seconds_predict: median wall time of scoring the test images.
    """

    dataset: str
    backbone: str
    method: str
    shots: int
    draws: int
    mean: float
    low: float
    high: float
    labels_per_class: float
    n_test: int
    macro: float
    nll: float
    ece: float
    seconds_fit: float
    seconds_predict: float

    @property
    def group(self) -> tuple[str, str]:
        """Data set and backbone: accuracies are only comparable within one."""
        return self.dataset, self.backbone


@dataclass(frozen=True, eq=False)
class Results:
    """Cells of one or more runs.

    Attributes:
        cells: rows of `CELLS`.
        runs: for each run, what was run: JSON.
        predictions: rows of `PREDICTIONS` of the draws that were kept; may be empty.
    """

    cells: pa.Table
    runs: tuple[dict[str, Any], ...]
    predictions: pa.Table

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    @classmethod
    def from_rows(
        cls, rows: Iterable[dict[str, Any]], runs: Sequence[dict[str, Any]], predictions: Sequence[pa.Table] = ()
    ) -> Results:
        """Results from cells as dictionaries; what a cell lacks is null."""
        kept = pa.concat_tables(predictions) if predictions else PREDICTIONS.empty_table()
        return cls(pa.Table.from_pylist(list(rows), schema=CELLS), tuple(runs), kept)

    @classmethod
    def joined(cls, parts: Sequence[Results]) -> Results:
        """The cells of several runs in one table.

        Raises:
            DataError: there are no runs, or two hold the same cell.
        """
        if not parts:
            raise DataError("there are no results to join: give at least one run.")
        cells = pa.concat_tables([p.cells for p in parts])
        keys = list(
            zip(*(cells[c].to_pylist() for c in ("dataset", "backbone", "method", "shots", "draw")), strict=True)
        )
        if len(set(keys)) < len(keys):
            raise DataError("two runs hold the same cell: join runs of different data sets, backbones or methods.")
        runs = tuple(run for p in parts for run in p.runs)
        return cls(cells, runs, pa.concat_tables([p.predictions for p in parts]))

    # --- reading ----------------------------------------------------------------------------------------------

    def summary(self) -> tuple[Summary, ...]:
        """Mean and 95 % interval of each (data set, backbone, method, shots), in the order they were run.

        The interval is that of `over_draws_and_samples`: with a single draw it covers the test images only.
        """
        return tuple(_summarise(key, rows) for key, rows in self._by_key.items())

    def groups(self) -> tuple[Group, ...]:
        """(data set, backbone) of all cells, in the order they were run."""
        return tuple(dict.fromkeys((dataset, backbone) for dataset, backbone, _, _ in self._by_key))

    def methods(self, group: Group | None = None) -> tuple[str, ...]:
        """Names of the methods of a group, or of all, in the order they were run."""
        return tuple(dict.fromkeys(k[2] for k in self._by_key if group is None or k[:2] == group))

    def shots_of(self, method: str, group: Group) -> tuple[int, ...]:
        """Labels per class at which a method was run, ascending."""
        return tuple(sorted(k[3] for k in self._by_key if k[:3] == (*group, method)))

    def config(self, group: Group) -> dict[str, Any]:
        """What was run of a group, as JSON; empty where it isn't known."""
        return next((run for run in self.runs if (run.get("dataset"), run.get("backbone")) == group), {})

    def scores_a_split(self, group: Group) -> bool:
        """Whether all draws of a group were scored on the same test images."""
        return str(self.config(group).get("test_rule", "split")) == "split"

    def values(self, method: str, shots: int, group: tuple[str, str], metric: str = "top1") -> dict[int, float]:
        """A metric by draw."""
        return self._column(method, shots, group, metric)

    def difference(self, one: tuple[str, int], other: tuple[str, int], group: tuple[str, str]) -> Interval:
        """Paired difference of top-1 accuracy between two (method, shots), over the draws that both have.

        The interval is that of `paired_shares`. A cell that no draw changes is compared with every draw of the other.

        Raises:
            DataError: they share no draw.
        """
        a, b = (self.right(*side, group) for side in (one, other))
        if one[1] == 0 and len(a) == 1:
            a = dict.fromkeys(b, next(iter(a.values())))
        elif other[1] == 0 and len(b) == 1:
            b = dict.fromkeys(a, next(iter(b.values())))
        shared = sorted(a.keys() & b.keys())
        if not shared:
            raise DataError(f"{one[0]} at {one[1]} and {other[0]} at {other[1]} shots share no draw.")
        return paired_shares([a[d] for d in shared], [b[d] for d in shared])

    def right(self, method: str, shots: int, group: tuple[str, str]) -> dict[int, NDArray[np.uint8]]:
        """(n,) whether each test image was named right, by draw."""
        found = self._column(method, shots, group, "right")
        sizes = self._column(method, shots, group, "n_test")
        return {d: np.unpackbits(np.frombuffer(bits, np.uint8), count=sizes[d]) for d, bits in found.items()}

    def _column(self, method: str, shots: int, group: tuple[str, str], column: str) -> dict[int, Any]:
        rows = self._by_key.get((*group, method, shots), [])
        return {row["draw"]: row[column] for row in rows}

    @cached_property
    def _by_key(self) -> dict[_CellKey, list[dict[str, Any]]]:
        """Cells of each (data set, backbone, method, shots), in the order they were run."""
        grouped: dict[_CellKey, list[dict[str, Any]]] = {}
        for row in self.cells.to_pylist():
            grouped.setdefault((row["dataset"], row["backbone"], row["method"], row["shots"]), []).append(row)
        return grouped

    def leaders(self) -> set[_CellKey]:
        """The best (data set, backbone, method, shots) at each number of shots, with all that tie with it.

        Two tie when the 95 % interval of their paired difference over draws and test images holds zero.
        """
        found = set()
        rows = self.summary()
        for group, shots in {(r.group, r.shots): None for r in rows}:
            rivals = [r for r in rows if r.group == group and r.shots == shots]
            best = max(rivals, key=lambda r: r.mean)
            for rival in rivals:
                same = rival is best or 0.0 in self.difference((best.method, shots), (rival.method, shots), group)
                if same:
                    found.add((*group, rival.method, shots))
        return found

    # --- files ------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write results.parquet, runs.json and, where there are any, predictions.parquet, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.predictions.num_rows:
            _write(folder / _PREDICTIONS, self.predictions)
        else:
            (folder / _PREDICTIONS).unlink(missing_ok=True)
        _write(folder / _CELLS, self.cells)
        write_json(folder / _CONFIG, {"kind": KIND, "format": FORMAT, "runs": list(self.runs)})

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            FormatError: missing, foreign, damaged, or newer than this clipwright.
        """
        config = _config(folder)
        cells = _read(folder / _CELLS, CELLS)
        kept = folder / _PREDICTIONS
        predictions = _read(kept, PREDICTIONS) if kept.exists() else PREDICTIONS.empty_table()
        return cls(cells, tuple(config["runs"]), predictions)


def _summarise(key: _CellKey, rows: list[dict[str, Any]]) -> Summary:
    # Without a test split the draws leave rests of one size; where they differ, the smallest is the cautious count.
    n_test = min(row["n_test"] for row in rows)
    interval = over_draws_and_samples([row["top1"] for row in rows], n_test)

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    return Summary(
        *key,
        draws=len(rows),
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        labels_per_class=float(np.mean([np.mean(row["labels_per_class"]) for row in rows])),
        n_test=n_test,
        macro=mean("macro"),
        nll=mean("nll"),
        ece=mean("ece"),
        seconds_fit=float(np.median([row["seconds_fit"] for row in rows])),
        seconds_predict=float(np.median([row["seconds_predict"] for row in rows])),
    )


def _write(path: Path, table: pa.Table) -> None:
    with atomic_file(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """A parquet file cast to a schema; columns that an older clipwright didn't write are null."""
    try:
        table = pq.read_table(path)
        columns = [
            table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(table.num_rows, f.type)
            for f in schema
        ]
        return pa.table(columns, schema=schema)
    except FileNotFoundError:
        raise FormatError(f"{path.parent} lacks {path.name}: run the comparison again.") from None
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"{path} is damaged ({error}): run the comparison again.") from error


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{folder} holds no results: give the folder that a comparison wrote.") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} can't be read ({error}): run the comparison again.") from error
    if not isinstance(config, dict) or config.get("kind") != KIND or not isinstance(config.get("runs"), list):
        raise FormatError(f"{path} was not written by clipwright: give the folder that a comparison wrote.")
    if not isinstance(config.get("format"), int) or config["format"] > FORMAT:
        raise FormatError(
            f"the results in {folder} have format {config.get('format')}, newer than {FORMAT}: update clipwright."
        )
    return config
