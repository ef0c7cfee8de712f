"""The errors a user may see: each message is one sentence that says what to do."""

from __future__ import annotations


class ClipwrightError(Exception):
    """Anything clipwright can explain. The command line prints the message and exits with 1."""


class UsageError(ClipwrightError):
    """Arguments that contradict each other or the data. The command line exits with 2."""


class DataError(ClipwrightError):
    """Images, labels, class names or features that can't be used as they are."""


class NeedsError(ClipwrightError):
    """A method lacks something: the message names it, how to supply it, and what would run instead."""


class BackboneError(ClipwrightError):
    """A model that can't be found, loaded or trusted."""


class StoreError(ClipwrightError):
    """A feature store that can't be read or written."""


class FormatError(ClipwrightError):
    """A saved artefact that is foreign, damaged, or newer than this clipwright."""
