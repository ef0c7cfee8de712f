"""Failures and warnings as the user sees them: one sentence on standard error, and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clipwright.cli.output import safe
from clipwright.core.errors import ClipwrightError, UsageError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
_PLACE = "; check that it is there and that you may use it, or name another (--out, --store, or CLIPWRIGHT_HOME)"
_ADVICE = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT), _PLACE)


def explain(error: BaseException) -> int:
    """Print what went wrong and return the exit code.

    Args:
        error: what ended the run.

    Raises:
        SystemExit: passed on.
    """
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):  # the reader went away, as `head` does: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        sys.stderr.write("Interrupted: run the same command again to go on from what is finished.\n")
        return INTERRUPTED
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
        else:
            sys.stderr.write(f"Error: {_usage(error)}\n")
        return int(error.exit_code)
    sys.stderr.write(f"Error: {sentence(error)}\n")
    return USAGE if isinstance(error, UsageError) else FAILURE


def sentence(error: BaseException) -> str:
    """One line that says what went wrong."""
    text = safe(" ".join(str(error).split()))
    if isinstance(error, ClipwrightError):
        return text  # as it is: it may begin with a name
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {safe(str(error.filename))}{_ADVICE.get(error.errno or 0, '')}."
    if isinstance(error, OSError) and text:
        return text
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"Out of memory ({text or type(error).__name__}): use a smaller backbone or batch size."
    return f"Unexpected {type(error).__name__}: {text or 'no message'} (add --debug to see where)."


def _usage(error: Any) -> str:
    """A usage error of the parser, with the way to the help that fits."""
    message = safe(re.sub(r"\s+", " ", error.format_message())).rstrip()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "clipwright"
    return f"{message.rstrip('.?')}{'?' if message.endswith('?') else '.'} See '{path} --help'."


@contextmanager
def plain_warnings(*, debug: bool) -> Iterator[None]:
    """Show warnings of clipwright as one plain line each, once; hide those of other packages unless debugging."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        text = safe(" ".join(str(message).split()))
        if issubclass(category, UserWarning) and text not in shown:
            shown.add(text)
            sys.stderr.write(f"Warning: {text}\n")
            logging.getLogger(__name__).info("warning: %s", text)  # for the log of a run's folder

    if debug:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"clipwright(\.|$)")
        warnings.showwarning = show  # type: ignore[assignment] # restored by catch_warnings
        yield
