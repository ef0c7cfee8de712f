"""What is shipped: metadata, versions that agree, typed marker, licence, and files that don't tell where we work."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import clipwright

REPO = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))


def test_versions_agree() -> None:
    assert clipwright.__version__ == PROJECT["project"]["version"] == metadata.version("clipwright")
    assert "## [Unreleased]" in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


def test_licence_and_typing_travel_with_the_package() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (REPO / "LICENSE").read_text(encoding="utf-8")
    assert (Path(clipwright.__file__).parent / "py.typed").is_file()


def test_constraints_hold_versions_and_no_addresses() -> None:
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.!+]+( ; .+)?", line) for line in lines)
    pinned = {re.split("==", line)[0] for line in lines}
    groups = PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["hf"]]
    wanted += [r for group in groups.values() for r in group if isinstance(r, str)]
    for requirement in wanted:
        name = re.split(r"[ <>=!~\[;]", requirement)[0].lower().replace("_", "-")
        assert name in pinned, f"{name} has no version in constraints.txt: run `make constraints`"


def test_committed_files_are_safe_and_name_no_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=False)
    if listed.returncode:  # not a git checkout, such as an unpacked sdist
        return
    own_path = re.compile(r"(?<![\w.])/(home|root|Users|work|opt)/[\w.-]+/")
    for name in listed.stdout.split("\0"):
        path = REPO / name
        if not name or not path.is_file():
            continue
        assert path.suffix not in {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"}, name
        assert path.stat().st_size < 9_000_000, name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".yaml"}:
            assert not own_path.search(path.read_text(encoding="utf-8")), f"{name} names a path of one machine"


def test_readme_promises_the_two_commands() -> None:
    text = (REPO / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make demo$", text, flags=re.M)
    assert re.search(r"^make test$", text, flags=re.M)
