"""Train the embedded model: `python -m training.tiny --out FOLDER` in the repository's root."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from training.tiny.evaluate import images_per_second, zero_shot
from training.tiny.export import export
from training.tiny.train import Recipe, Trainer

from clipwright.assets import datasets


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.tiny", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, merges, known answers and log")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--every", type=int, default=200, help="steps between looks at the development parts")
    parser.add_argument("--test", action="store_true", help="also open the test parts, once, at the end")
    return parser.parse_args()


def _best(accuracy: dict[str, float]) -> str:
    first = next(iter(accuracy.values()))
    return f"{100 * first:.1f} (all templates {100 * accuracy['all']:.1f})"


def main() -> None:
    """Train, look at the development parts on the way, export."""
    arguments = _arguments()
    # One thread: sums are then added in one order, so a second run gives the same weights on the same machine.
    torch.set_num_threads(1)
    recipe = Recipe(seed=arguments.seed, steps=arguments.steps, batch=arguments.batch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sets = [datasets.load(name) for name in datasets.names()]
    trainer = Trainer(recipe)
    start = time.perf_counter()
    with (arguments.out / "log.jsonl").open("w", encoding="utf-8") as log:
        log.write(json.dumps(asdict(recipe)) + "\n")
        while trainer.done < recipe.steps:
            row: dict[str, object] = {"step": trainer.done + 1, **trainer.step()}
            row["seconds"] = round(time.perf_counter() - start, 1)
            if trainer.done % arguments.every == 0 or trainer.done == recipe.steps:
                looks = {data.name: zero_shot(trainer.model, trainer.tokenizer, data, "train") for data in sets}
                row["development"] = looks
                shown = ", ".join(f"{name} {_best(accuracy)}" for name, accuracy in looks.items())
                print(
                    f"step {trainer.done} {row['seconds']}s loss {row['loss']:.3f} top1 {row['top1']:.2f}: {shown}",
                    flush=True,
                )
            log.write(json.dumps(row) + "\n")
            log.flush()
    export(trainer.model, trainer.tokenizer, arguments.out)
    print(f"{images_per_second(trainer.model):.0f} images/s on one core")
    if arguments.test:
        for data in sets:
            print(f"test {data.name}: {_best(zero_shot(trainer.model, trainer.tokenizer, data, 'test'))}")


if __name__ == "__main__":
    main()
