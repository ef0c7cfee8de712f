"""The documentation is true: its Python runs, its commands parse or run, its reference covers every verb and option."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipwright.cli.app import VERBS, command, run

REPO = Path(__file__).parent.parent
PAGES = sorted([REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", flags=re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def name_of(page: Path) -> str:
    return page.relative_to(REPO).as_posix()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages speak of: photos/ in class folders, unlabeled/, new-photos/, names.txt."""
    rng = np.random.default_rng(0)
    for name, colour, is_round in (("red circle", (200, 30, 30), True), ("blue square", (30, 30, 200), False)):
        for number in range(8):
            pixels = np.full((64, 64, 3), 235, dtype=np.uint8)
            y, x = np.mgrid[:64, :64] - 32 + rng.integers(-4, 5, size=(2, 1, 1))
            pixels[(x**2 + y**2 < 400) if is_round else (np.maximum(abs(x), abs(y)) < 18)] = colour
            folders = [f"photos/{name}"] + ([] if number > 1 else ["unlabeled", "new-photos"])
            for folder in folders:
                path = tmp_path / folder / (f"{number}.png" if "/" in folder else f"{name[:3]}{number}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (tmp_path / "names.txt").write_text("red circle\nblue square\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name_of)
def test_python_on_a_page_runs_from_top_to_bottom(page: Path, workplace: Path) -> None:
    program = workplace / "page.py"
    program.write_text("\n\n".join(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands(page: Path) -> list[list[str]]:
    """Lines of shell blocks that call clipwright, as arguments; comments and redirections are cut off."""
    lines = [line for code in blocks(page, "bash") for line in code.splitlines() if line.startswith("clipwright ")]
    return [shlex.split(line.split(" > ")[0], comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name_of)
def test_commands_on_a_page_parse(page: Path) -> None:
    for arguments in commands(page):
        made: Any = command(arguments[0])
        rest = arguments[1:]
        if hasattr(made, "commands"):
            made, rest = made.commands[rest[0]], rest[1:]
        made.make_context(arguments[0], rest)  # raises where the page is wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/getting-started.md"])
def test_commands_of_the_first_pages_run_in_order(name: str, workplace: Path) -> None:
    for arguments in commands(REPO / name):
        if "--backbone" in arguments and "tiny" not in arguments:
            continue  # needs weights from a network
        assert run([*arguments, "--quiet"]) == 0, shlex.join(arguments)


def test_the_reference_names_every_verb_and_option() -> None:
    place = REPO / "docs" / "_build" / "cli_reference.py"
    spec = importlib.util.spec_from_file_location("cli_reference", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.reference()
    for verb in VERBS:
        assert f"\n## {verb}\n" in text
        for param in getattr(command(verb), "params", []):
            assert all(f"`{flag}`" in text for flag in param.opts if flag.startswith("--"))


def test_links_between_readme_and_files_hold() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            place = page.parent / target
            assert place.exists() or target == "cli.md", f"{name_of(page)} links to {target}, which is not there"
