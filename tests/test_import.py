"""Start-up stays light: what is imported when, and that nothing optional is imported at module level."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
SOURCE = REPO / "src" / "clipwright"
HEAVY = ("torch", "open_clip", "numpy", "pyarrow", "PIL", "sklearn", "transformers", "matplotlib", "rich.console")
COMES_WITH = {"markupsafe": "jinja2"}  # required by a required package, and part of how that one is used
IMPORT_NAMES = {"open_clip_torch": "open_clip", "pillow": "PIL", "scikit-learn": "sklearn"}


def loaded_after(code: str) -> set[str]:
    """Modules in sys.modules of a fresh interpreter that has run `code`."""
    program = f"import sys\n{code}\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def run_cli(*arguments: str) -> str:
    return f"from clipwright.cli import main\nassert main({list(arguments)!r}) == 0"


@pytest.mark.parametrize(
    "code",
    ["import clipwright", "import clipwright; dir(clipwright)", run_cli("--help"), run_cli("--version")],
    ids=["import", "dir", "help", "version"],
)
def test_start_up_imports_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & set(HEAVY)


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "fit",
        "predict",
        "evaluate",
        "extract",
        "describe",
        "generate",
        "caption",
        "merge",
        "tune-prompt",
        "serve",
        "methods",
        "backbones",
        "datasets",
    ],
)
def test_help_of_a_verb_imports_neither_torch_nor_open_clip(verb: str) -> None:
    assert not loaded_after(run_cli(verb, "--help")) & {"torch", "open_clip"}


def test_help_imports_no_verb() -> None:
    from clipwright.cli.app import VERBS

    assert not {f"clipwright.cli.{verb}" for verb in VERBS} & loaded_after(run_cli("--help"))


def test_every_public_name_can_be_had() -> None:
    import clipwright

    for name in clipwright.__all__:
        assert getattr(clipwright, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = clipwright.nonsense


def at_module_level(tree: ast.Module) -> Iterator[str]:
    """Packages that a file imports when it is imported itself; imports for types only don't count."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            todo += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            todo += list(ast.iter_child_nodes(node))


def required_packages() -> set[str]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[ <>=!~\[;]", requirement)[0] for requirement in project["dependencies"]]
    required = {IMPORT_NAMES.get(name, name) for name in names}
    return required | {name for name, owner in COMES_WITH.items() if owner in required}


def test_no_optional_dependency_is_imported_at_module_level() -> None:
    allowed = {*sys.stdlib_module_names, *required_packages(), "clipwright"}
    for path in sorted(SOURCE.rglob("*.py")):
        found = set(at_module_level(ast.parse(path.read_text(encoding="utf-8")))) - allowed
        assert not found, f"{path.relative_to(REPO)} imports {found} at module level: import it where it is used"


def test_the_scan_for_optional_dependencies_can_fail() -> None:
    bad = "try:\n    import transformers\nexcept ImportError:\n    pass\nif TYPE_CHECKING:\n    import ray\n"
    assert set(at_module_level(ast.parse(bad))) == {"transformers"}
