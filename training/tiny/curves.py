"""Learning curves of several runs, as picture and table: `python -m training.tiny.curves FOLDER... --out PICTURE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt

PANELS = (("digits", "all"), ("digits", "parts"), ("shapes", "all"), ("shapes", "parts"))
_TITLES = {"all": "zero-shot, template ensemble", "parts": "parts only, unseen wordings"}


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The recipe of a run, and its steps."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return lines[0], lines[1:]


def picture(folders: list[Path], out: Path) -> None:
    """Loss and development accuracy of each run over its steps.

    Args:
        folders: What the runs wrote.
        out: PNG to write.
    """
    figure, axes = plt.subplots(1, 1 + len(PANELS), figsize=(15, 3), layout="constrained")
    for folder, colour in zip(folders, ("#0072b2", "#d55e00", "#009e73"), strict=False):
        recipe, steps = read(folder)
        loss = np.array([row["loss"] for row in steps])
        smooth = np.convolve(loss, np.ones(25) / 25, mode="valid")
        axes[0].plot(np.arange(len(smooth)) + 25, smooth, color=colour, label=f"seed {recipe['seed']}")
        looks = [row for row in steps if "development" in row]
        for axis, (data, what) in zip(axes[1:], PANELS, strict=True):
            accuracy = [100 * row["development"][data][what] for row in looks]
            axis.plot([row["step"] for row in looks], accuracy, color=colour, marker="o", markersize=3)
            axis.set(title=f"{data}: {_TITLES[what]}", xlabel="step", ylabel="%", ylim=(0, 100))
    axes[0].set(title="contrastive loss, mean of 25", xlabel="step", yscale="log")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.title.set_fontsize(9)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


def table(folders: list[Path]) -> str:
    """Development accuracy at each look, in per cent, seeds side by side."""
    runs = [read(folder) for folder in folders]
    lines = ["| step | " + " | ".join(f"{d} {w}" for d, w in PANELS) + " |", "|---" * (1 + len(PANELS)) + "|"]
    looks = [[row for row in steps if "development" in row] for _, steps in runs]
    for rows in zip(*looks, strict=True):
        cells = [" / ".join(f"{100 * row['development'][d][w]:.1f}" for row in rows) for d, w in PANELS]
        lines.append(f"| {rows[0]['step']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Draw the picture, print the table."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny.curves", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    picture(arguments.folders, arguments.out)
    print(table(arguments.folders))


if __name__ == "__main__":
    main()
