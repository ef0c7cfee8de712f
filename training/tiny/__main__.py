"""Train the embedded model: `python -m training.tiny --out FOLDER` in the repository's root."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from training.tiny import development
from training.tiny.evaluate import images_per_second, zero_shot
from training.tiny.export import export
from training.tiny.train import Recipe, Trainer, native_precision

from clipwright.assets import datasets


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.tiny", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and checkpoint; resumed")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--handwriting", type=float, default=Recipe.handwriting, help="share of pen-stroke characters")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto: bfloat16 where it is native"
    )
    parser.add_argument("--every", type=int, default=200, help="steps between looks and checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    return parser.parse_args()


def _look(trainer: Trainer) -> dict[str, dict[str, float]]:
    """Accuracy on the development parts of the sets that choices rest on: templates, unseen wordings."""
    model = trainer.model.to("cpu").eval()
    found = {}
    for name in ("digits", "shapes"):
        data = datasets.load(name)
        accuracy = zero_shot(model, trainer.tokenizer, data, "train")
        found[name] = {"first": accuracy[data.templates[0]], "all": accuracy["all"]}
        found[name] |= development.look(model, trainer.tokenizer, data)
    trainer.model.to(trainer.device).train()
    return found


def main() -> None:
    """Train, look at the development parts on the way, export."""
    arguments = _arguments()
    # One thread: sums are then added in one order, so a second run gives the same weights on the same machine.
    torch.set_num_threads(arguments.threads)
    fields = ("seed", "steps", "batch", "handwriting", "precision")
    if arguments.precision == "auto":
        arguments.precision = native_precision(arguments.device)
    recipe = Recipe(**{name: getattr(arguments, name) for name in fields})
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, arguments.device)
    checkpoint = arguments.out / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"goes on after step {trainer.done}", flush=True)
    start = time.perf_counter()
    with (arguments.out / "log.jsonl").open("a", encoding="utf-8") as log:
        if not trainer.done:
            log.write(json.dumps(asdict(recipe)) + "\n")
        while trainer.done < recipe.steps:
            row: dict[str, object] = {"step": trainer.done + 1, **trainer.step()}
            row["seconds"] = round(time.perf_counter() - start, 1)
            if trainer.done % arguments.every == 0 or trainer.done == recipe.steps:
                row["development"] = looks = _look(trainer)
                print(f"step {trainer.done} {row['seconds']}s loss {row['loss']:.3f} top1 {row['top1']:.2f}")
                for name, found in looks.items():
                    print(f"  {name}: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in found.items()), flush=True)
                trainer.save(checkpoint)
            log.write(json.dumps(row) + "\n")
            log.flush()
    export(trainer.model.cpu(), trainer.tokenizer, arguments.out)
    print(f"{images_per_second(trainer.model):.0f} images/s on one core")


if __name__ == "__main__":
    main()
