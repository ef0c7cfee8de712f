"""The room rules: docs/design.md says who may import whom; this test reads them there and holds the source to them."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
SOURCE = REPO / "src" / "clipwright"
DESIGN = (REPO / "docs" / "design.md").read_text(encoding="utf-8")
FILES = sorted(p for p in SOURCE.rglob("*.py"))
EVERYTHING = "everything"
MAX_FILE, MAX_BODY = 600, 60

# Imports against the table, each with the reason why it stands.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def rooms_of_the_plan() -> dict[str, set[str]]:
    """Room -> rooms that it may import, from the table in docs/design.md."""
    rooms: dict[str, set[str]] = {}
    for line in DESIGN.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        allowed = set() if cells[2] == "-" else {name.strip() for name in cells[2].split(",")}
        for name in re.findall(r"`([\w./]+)`", cells[0]):
            rooms[name.rstrip("/").removesuffix(".py")] = allowed
    return rooms


ROOMS = rooms_of_the_plan()


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@dataclass(frozen=True)
class Import:
    """One imported room, and where."""

    room: str
    line: int


def imports(tree: ast.Module) -> Iterator[Import]:  # noqa: C901 - one branch per form of import
    """Rooms that a file imports anywhere: at the top, inside functions, for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "clipwright":
                    yield Import(parts[1] if len(parts) > 1 else "api", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            parts = (node.module or "").split(".")
            if parts[0] != "clipwright":
                continue
            if len(parts) > 1:
                yield Import(parts[1], node.lineno)
                continue
            for alias in node.names:
                if alias.name in ROOMS:
                    yield Import(alias.name, node.lineno)
                elif alias.name != "__version__":
                    yield Import("api", node.lineno)  # the package's public names are the api's


def forbidden(room: str, source: str) -> list[Import]:
    """Imports in `source` that a file of `room` may not make."""
    allowed = ROOMS[room]
    if EVERYTHING in allowed:
        return []
    return [i for i in imports(ast.parse(source)) if i.room != room and i.room not in allowed]


def test_the_table_knows_every_room_and_nothing_but_rooms() -> None:
    planned = {room for room in ROOMS if (SOURCE / room).is_dir() or (SOURCE / f"{room}.py").is_file()}
    assert {room_of(p) for p in FILES} <= planned, "a room without a row in the table of docs/design.md"
    assert {name for allowed in ROOMS.values() for name in allowed} <= {*ROOMS, EVERYTHING}


def test_the_rules_can_fail() -> None:
    """Each way to import is seen."""
    for bad in (
        "import clipwright.api",
        "import clipwright",
        "from clipwright import api",
        "from clipwright import Classifier",
        "from clipwright.api import fit",
        "def f():\n    from clipwright.methods import get",
        "if TYPE_CHECKING:\n    from clipwright.cli.app import run",
    ):
        assert forbidden("core", bad), bad
    assert not forbidden("core", "from clipwright import __version__\nfrom clipwright.core.errors import DataError")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_keep_to_the_table(path: Path) -> None:
    room = room_of(path)
    name = path.relative_to(SOURCE).as_posix()
    wrong = [i for i in forbidden(room, path.read_text(encoding="utf-8")) if (name, i.room) not in EXCEPTIONS]
    assert not wrong, f"{name}: room {room} may import {sorted(ROOMS[room])} only: {wrong}"


def test_exceptions_are_still_needed() -> None:
    for name, room in EXCEPTIONS:
        found = forbidden(name.split("/")[0].removesuffix(".py"), (SOURCE / name).read_text(encoding="utf-8"))
        assert room in {i.room for i in found}, f"{name} no longer imports {room}: drop the exception"


def test_rooms_form_no_circle() -> None:
    left = {room: allowed & set(ROOMS) for room, allowed in ROOMS.items() if EVERYTHING not in allowed}
    left = {room: allowed & set(left) for room, allowed in left.items()}
    while left:
        free = [room for room, allowed in left.items() if not allowed]
        assert free, f"these rooms import each other in a circle: {sorted(left)}"
        left = {room: allowed - set(free) for room, allowed in left.items() if room not in free}


def test_every_file_of_core_has_a_line_in_the_plan() -> None:
    section = DESIGN.split("### What is in core", 1)[1].split("\n## ", 1)[0]
    listed = set(re.findall(r"^- `(\w+)\.py`", section, flags=re.M))
    assert listed == {p.stem for p in (SOURCE / "core").glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_are_of_readable_size(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                size = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert size <= MAX_BODY, f"{path.name}: {node.name} has {size} lines; split it"


def modules_tested(folder: Path) -> set[str]:
    """Modules that the tests of a room import, or whose public names they import from a package."""
    found: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clipwright"):
                found.add(str(node.module))
                package = importlib.import_module(str(node.module))
                for alias in node.names:
                    found.add(f"{node.module}.{alias.name}")
                    found.add(str(getattr(getattr(package, alias.name, None), "__module__", "")))
    return found


# Parts of a machine that are tested as a whole: the tests of the file named drive them.
TESTED_WITHIN = {
    "assets/datasets/embedded.py": "assets/datasets/test_datasets.py",
    "assets/datasets/shapes.py": "assets/datasets/test_datasets.py",
}


def test_tests_mirror_the_source() -> None:
    """Every file has tests/<room>/test_<file>.py, or the tests of its own room import it."""
    missing = []
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        if path.name.startswith("_") or not path.read_text(encoding="utf-8").strip():
            continue
        folder, module = REPO / "tests" / Path(name).parent, "clipwright." + name.removesuffix(".py").replace("/", ".")
        if (folder / f"test_{path.name}").is_file() or module in modules_tested(folder):
            assert name not in TESTED_WITHIN, f"{name} has tests of its own now: drop it from TESTED_WITHIN"
        elif not (name in TESTED_WITHIN and (REPO / "tests" / TESTED_WITHIN[name]).is_file()):
            missing.append(name)
    assert not missing, f"no tests/<room>/test_<file>.py for {missing}"
