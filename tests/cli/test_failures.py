from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from clipwright.cli.app import run
from clipwright.cli.failures import explain, plain_warnings, sentence
from clipwright.core.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (DataError("there is no image."), 1, "Error: there is no image."),
        (UsageError("give a folder."), 2, "Error: give a folder."),
        (PermissionError(13, "Permission denied", "/x/\x1by"), 1, "Error: Permission denied: /x/\\x1by; check that"),
        (MemoryError(), 1, "Error: Out of memory"),
        (RuntimeError("two\nlines"), 1, "Error: Unexpected RuntimeError: two lines (add --debug to see where)."),
        (KeyboardInterrupt(), 130, "Interrupted: run the same command again"),
    ],
)
def test_every_failure_is_one_line_and_a_code(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(says)
    assert err.count("\n") == 1


def test_system_exit_is_passed_on() -> None:
    with pytest.raises(SystemExit):
        explain(SystemExit(3))


def test_sentences_escape_names() -> None:
    assert sentence(DataError("class 'a\x1b[2J' is empty.")) == "class 'a\\x1b[2J' is empty."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit"], "Missing argument 'DATA'. See 'clipwright fit --help'."),
        (["fit", "digits"], "Missing option '--out' / '-o'. See 'clipwright fit --help'."),
        (["fit", "digits", "--shot", "4"], "No such option: --shot"),
        (["fit", "digits", "--out", "x", "--shots", "0"], "Invalid value for '--shots'"),
        (["fti"], "there is no verb 'fti': did you mean fit? See 'clipwright --help'."),
        (["bogus"], "there is no verb 'bogus': choose one of demo, fit,"),
        (["--bogus"], "No such option: --bogus"),
    ],
)
def test_bad_usage_is_one_line_with_the_way_to_help(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {says}")
    assert err.count("\n") == 1


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "rm", "nothing", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert run(["cache", "rm", "nothing"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_warnings_are_plain_lines_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    def warn() -> None:
        warnings.warn_explicit("skipped\none", UserWarning, "f.py", 1, module="clipwright.data")
        warnings.warn_explicit("noise", UserWarning, "f.py", 1, module="torch.nn")
        warnings.warn_explicit("noise", DeprecationWarning, "f.py", 1, module="clipwright.data")

    with plain_warnings(debug=False):
        warn()
        warn()
    assert capsys.readouterr().err == "Warning: skipped one\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    program = "import sys; from clipwright.cli import main; sys.exit(main(['--help']))"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate(timeout=60)
    assert b"Traceback" not in err
