"""How exactly the published code is reproduced: ``python benchmarks/exactness.py [--shared DIR] [--only gda,...]``.

Runs methods with the published settings on every recorded run of the published code on WHU-RS19 features (DIR, or the
environment variable CLIPWRIGHT_SHARED, default ../shared) and on the unit vectors of tests/golden, and writes the two
tables between the markers in docs/exactness.md. The records hold how many of 625 test images were right, not which;
the count is what is compared. Where an order of batches or a first bias was drawn at random, the recorded one is used.
With ``--only`` some methods are run, and the rows of the others stay as they are on the page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.core.gaussian import class_statistics, linear_discriminant, shrunk_covariance
from clipwright.core.tensors import unit_rows
from clipwright.task import Features, Task, TextFeatures

REPO = Path(__file__).parent.parent
PAGE, GOLDEN = REPO / "docs" / "exactness.md", REPO / "tests" / "golden"
ENCODERS = ("clip_rn50", "clip_vitb32", "remoteclip_vitb32", "georsclip_vitl14")
BATCH = 256

Run = dict[str, Any]
Arrays = dict[str, torch.Tensor]


class Bundle:
    """One encoder's features, texts, splits and first biases."""

    def __init__(self, shared: Path, encoder: str) -> None:
        with np.load(shared / "realdata" / f"whurs19_{encoder}.npz") as file:
            self.features = Features(torch.from_numpy(file["image_features"]).float(), file["labels"])
            self.text = TextFeatures(file["text_features"])
            self.names = tuple(map(str, file["class_names"]))
        with np.load(shared / "golden" / "real" / "splits_whurs19.npz") as file:
            self.splits = {name: file[name] for name in file.files}
        with np.load(shared / "golden" / "real" / "lpp_bias_init_torch_seed1.npz") as file:
            self.bias = torch.from_numpy(file[f"D{self.features.dim}_C{len(self.names)}"]).float()

    def part(self, run: Run, name: str) -> Features:
        """Rows of the split ``train`` (as many shots as the run's), ``val`` or ``test``."""
        rows = self.splits[f"seed{run['split_seed']}_{name}"]
        return self.features[(rows[:, : run["shots"]] if name == "train" else rows).ravel()]

    def task(self, run: Run) -> Task:
        """The task of a recorded run."""
        return Task(self.names, self.text, self.part(run, "train"), validation=self.part(run, "val"))


# --- the published settings, method by method; each returns (m, C) logits of the test rows ----------------------------


def tip_adapter(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.tip_adapter import TipAdapter

    if run["method"] == "tip_adapter_fixed_b1_a1":
        return TipAdapter(beta=1.0, alpha=1.0).fit(bundle.task(run))(test)
    beta, alpha = run["search_scale"]
    searched = TipAdapter(search_scale=(beta, alpha), search_steps=tuple(run["search_step"]), choice="first")
    return searched.fit(bundle.task(run))(test)


def gda(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.gda import GDA

    if run["method"] == "gda":
        return GDA(legacy_scale=True, legacy_one_shot=True).fit(bundle.task(run))(test)
    support = bundle.part(run, "train")
    found = class_statistics([(support.unit_x(), support.labels)], len(bundle.names))
    weight, bias = linear_discriminant(found.means, shrunk_covariance(found.within(), found.rows))
    return test.unit_x().double() @ weight.T + bias


def taskres(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.taskres_fit import residual_logits, taskres_fit
    from clipwright.training.batches import split_batches
    from clipwright.training.schedules import dassl_schedule

    support, base = bundle.part(run, "train"), run["T_scale"] * bundle.text.classifier()
    rng = np.random.RandomState(run["split_seed"])  # the recorded order of the rows
    orders = [torch.from_numpy(rng.permutation(len(support))) for _ in range(run["epochs"])]
    residual, _ = taskres_fit(
        support.x, support.labels, base,
        batches=[split_batches(order, BATCH, drop_last=True) for order in orders],
        learning_rates=dassl_schedule(run["lr"], run["epochs"]), alpha=run["alpha"], weight_decay=run["wd"],
    )  # fmt: skip
    return residual_logits(test.x, base, residual, alpha=run["alpha"])


def prototypes(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.clap import clap_penalty
    from clipwright.methods.zslp import prototypes_fit
    from clipwright.training.schedules import dassl_schedule

    support, base = bundle.part(run, "train"), run["T_scale"] * bundle.text.classifier()
    rng = np.random.RandomState(run["split_seed"])  # the recorded order: one draw of N numbers per epoch
    orders = [torch.from_numpy(rng.rand(len(support)).argsort()) for _ in range(run["epochs"])]
    count = max(1, len(support) // BATCH)
    clap = run["method"].startswith("clap")
    weight, _ = prototypes_fit(
        support.x, support.labels, base,
        batches=[[order[BATCH * i : BATCH * (i + 1)] for i in range(count)] for order in orders],
        learning_rates=dassl_schedule(run["lr"], run["epochs"]),
        penalty=clap_penalty(support.x, support.labels, base) if clap else None,
    )  # fmt: skip
    return test.x @ unit_rows(weight).T


def lpplusplus(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.lpplusplus import initial_blend, lpp_fit, step_sizes
    from clipwright.training.selection import BestState

    support, validation, texts = bundle.part(run, "train"), bundle.part(run, "val"), bundle.text.classifier()
    f, y = support.unit_x(), support.labels
    best = BestState(validation.x, validation.labels, "accuracy")
    start = initial_blend(f, y, texts)._replace(bias=bundle.bias)
    lpp_fit(
        f, y, texts, start, step_sizes(f, texts), epochs=run["epochs"], accumulate=True,
        watch=lambda epoch, blend: best.look(epoch, blend.classifier(texts), blend.bias),
    )  # fmt: skip
    return test.unit_x() @ best.weight.T + best.bias


def coder(bundle: Bundle, run: Run, test: Features) -> torch.Tensor:
    from clipwright.methods.coder import CODER

    return CODER(beta=run["beta"], alpha=run["alpha"]).fit(bundle.task(run))(test)


METHODS: dict[str, Callable[[Bundle, Run, Features], torch.Tensor]] = {
    "gda": gda,
    "gda_no_text": gda,
    "tip_adapter": tip_adapter,
    "tip_adapter_fixed_b1_a1": tip_adapter,
    "taskres": taskres,
    "taskres_T8": taskres,
    "taskres_E200": taskres,
    "zslp_T8": prototypes,
    "clap_T8": prototypes,
    "lp++": lpplusplus,
    "coder_fewshot": coder,
    "coder_fewshot_init": coder,
}


# --- unit vectors -----------------------------------------------------------------------------------------------------


def golden_gda(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.gda import published_precision, published_scale

    views = unit_rows(a["support_views"])
    found = class_statistics([(v, a["support_labels"]) for v in views], 8)
    weight, bias = linear_discriminant(found.means, shrunk_covariance(found.within(), found.rows))
    scale = published_scale(48, found.rows)
    weight, bias = scale * weight, scale * bias - np.log(8)
    yield from {"class_means": found.means, "precision": published_precision(found.within(), found.rows)}.items()
    yield from {"W_DxC": weight.T, "b": bias}.items()
    x = unit_rows(a["test_features"])
    yield "test_logits", 100 * x @ unit_rows(a["text"]).T + a["chosen_alpha"] * (x @ weight.T + bias)


def golden_tip_adapter(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.tip_adapter import TipAdapter, support_keys

    views = a["support_views"].transpose(0, 1)
    support = Features(views[:, 0], a["support_labels"], views=views)
    yield "keys", support_keys(support, use_views=True)
    method = TipAdapter(beta=float(a["beta"]), alpha=float(a["alpha"]))
    yield (
        "test_logits",
        method.fit(Task(tuple("abcdefgh"), TextFeatures(a["text"]), support))(Features(a["test_features"])),
    )


def golden_taskres(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.taskres_fit import residual_logits, taskres_fit

    x, y, base = a["image_features"], a["labels"], a["base_text"]
    for name, residual in (("X0", torch.zeros_like(base)), ("Xr", a["X_random"])):
        yield f"logits_{name}", residual_logits(x, base, residual)
    whole = torch.arange(len(y))
    for steps in (1, 20):
        found, _ = taskres_fit(x, y, base, batches=[[whole]] * steps, learning_rates=[2e-3] * steps)
        yield f"X_after_{steps}", found


def golden_clap(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.clap import clap_penalty
    from clipwright.methods.zslp import prototypes_fit
    from clipwright.training.schedules import dassl_schedule

    x, y, base = a["image_features"], a["labels"], a["base_text"]
    yield "lambda_k", clap_penalty(x, y, base)
    batches, rates = [[torch.arange(len(y))]] * 10, dassl_schedule(0.1, 300)[:10]
    for name, penalty in (("zslp_W_after_10", None), ("W_after_10", a["lambda_k"])):
        yield name, prototypes_fit(x, y, base, batches=batches, learning_rates=rates, penalty=penalty)[0]


def golden_lpp(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.lpplusplus import initial_blend, lpp_fit, step_sizes

    f, y, texts = a["support_features"], a["support_labels"], a["text_DxC"].T
    start = initial_blend(f, y, texts)._replace(bias=a["b0"])
    yield from {"W0_class_sums": start.weight, "alpha0": start.alpha[None]}.items()
    last, _ = lpp_fit(f, y, texts, start, step_sizes(f, texts), accumulate=True)
    yield from {"W_after_300": last.weight, "alpha_after_300": last.alpha[None], "b_after_300": last.bias}.items()


def golden_coder(a: Arrays) -> Iterator[tuple[str, torch.Tensor]]:
    from clipwright.methods.coder import CODER
    from clipwright.methods.coder_few_shot import Memory, gram_root

    names, classes = tuple("abcdefgh"), torch.arange(8)
    rows, of, kinds = [a["name_texts"]], [classes], ["name"] * 8
    for kind, part in (("attribute", "att"), ("analogue", "ana"), ("synonym", "syno")):
        rows.append(a[f"{part}_rows"])
        of.append(classes.repeat_interleave(a[f"{part}_counts"]))
        kinds += [kind] * len(a[f"{part}_rows"])
    text = TextFeatures(torch.cat(rows), torch.cat(of), tuple(kinds))
    for wanted, used in (("all", None), ("no_syno", ("attribute", "analogue")), ("name_only", ())):
        method = CODER(kinds=used)  # type: ignore[arg-type] # kinds of text
        yield f"logits_{wanted}", method.fit(Task(names, text))(Features(a["image_features"]))
    root = gram_root(a["fs_S_no_syno"])
    keys = unit_rows(unit_rows(a["fs_support_views"].mean(0)) @ root.T)
    memory = Memory(unit_rows(a["fs_text_DxC"].T), root, keys, a["fs_support_labels"], 100.0)
    x = unit_rows(a["fs_test"])
    yield from {"fs_affinity": memory.seen(x) @ keys.T, "fs_affinity_minmax": memory.near(x)}.items()
    yield "fs_logits", memory.head(float(a["fs_beta"]), float(a["fs_alpha"]))(x)


VECTORS: dict[str, Callable[[Arrays], Iterator[tuple[str, torch.Tensor]]]] = {
    "gda": golden_gda,
    "tip_adapter": golden_tip_adapter,
    "taskres": golden_taskres,
    "clap": golden_clap,
    "lpp": golden_lpp,
    "coder": golden_coder,
}


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How far counts of right images lie from the recorded ones."""

    gaps: list[int]

    def row(self, name: str) -> str:
        """A line of the table."""
        within = sum(gap <= 2 for gap in self.gaps)
        return f"| {name} | {len(self.gaps)} | {self.gaps.count(0)} | {within} | {max(self.gaps)} |"


def real_row(name: str, runs: list[Run], bundles: dict[str, Bundle]) -> str:
    gaps = []
    for run in (r for r in runs if r["method"] == name):
        if name == "gda_no_text" and run["shots"] == 1:
            continue  # the recorded one is constant: it has no answer to compare
        bundle = bundles[run["dataset"].removeprefix("whurs19_")]
        test = bundle.part(run, "test")
        right = int((METHODS[name](bundle, run, test).argmax(1) == test.labels).sum())
        gaps.append(abs(right - run["correct"]))
    return Tally(gaps).row(name)


def golden_row(name: str) -> str:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    gaps = {
        key: float((found - arrays[key]).abs().max() / arrays[key].abs().max()) for key, found in VECTORS[name](arrays)
    }
    worst = max(gaps, key=lambda key: gaps[key])
    return f"| {name}.npz | {len(gaps)} | {gaps[worst]:.1e} | {worst} |"


def write(marker: str, rows: dict[str, str]) -> None:
    """Put rows into the table between two markers of the page, in the place of those with the same first cell."""
    text = PAGE.read_text(encoding="utf-8")
    start, stop = f"<!-- {marker}: begin -->\n", f"<!-- {marker}: end -->"
    before, rest = text.split(start, 1)
    table, after = rest.split(stop, 1)
    lines = [line for line in table.splitlines() if line]
    kept = {line.split("|")[1].strip(): line for line in lines[2:]} | rows
    PAGE.write_text(before + start + "\n".join([*lines[:2], *kept.values()]) + "\n" + stop + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("CLIPWRIGHT_SHARED", REPO.parent / "shared"))
    )
    parser.add_argument("--only", type=lambda text: text.split(","))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in VECTORS if not options.only else [n for n in VECTORS if n in options.only]:
        try:
            row = golden_row(name)
        except ImportError as error:
            print(f"{name}: not there yet ({error})")
            continue
        print(row, flush=True)
        write("vectors", {f"{name}.npz": row})
    records = options.shared / "golden" / "real" / "whurs19_results.json"
    if not records.is_file():
        sys.exit(f"the records are not at {options.shared}: name the folder with --shared")
    runs = [r for r in json.loads(records.read_text(encoding="utf-8")) if "#" not in r["dataset"]]
    bundles = {encoder: Bundle(options.shared, encoder) for encoder in ENCODERS}
    for name in METHODS if not options.only else [n for n in METHODS if n in options.only]:
        try:
            row = real_row(name, runs, bundles)
        except ImportError as error:
            print(f"{name}: not there yet ({error})")
            continue
        print(row, flush=True)
        write("runs", {name: row})


if __name__ == "__main__":
    main()
