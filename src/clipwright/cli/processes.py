"""Several processes that work on one thing, as ``torchrun`` starts them: the first one leads, the others follow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from clipwright.cli.failures import FAILURE, INTERRUPTED, USAGE
from clipwright.core.errors import ClipwrightError, UsageError

_GO = "go"
_PATIENCE = timedelta(days=30)  # the first process may have a million images to encode before the others are needed
_GRACE = timedelta(seconds=30)  # for the first process to say what went wrong before another one ends


class _Store(Protocol):
    """What torch's stores of several processes do here."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...


class Ranks:
    """What the processes tell each other beside their work.

    Args:
        rank: of this process, from 0.
        size: how many there are.
        store: where words are left, or None where there is one process.

    Attributes:
        follows: whether another process leads.
        several: whether there is more than one process.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: _Store | None = None) -> None:
        self.rank, self.size = rank, size
        self.follows, self.several = rank > 0, size > 1
        self._store, self._said = store, 0

    def _say(self, word: str) -> None:
        if self._store is not None:
            self._store.set(f"clipwright/word {self._said}", word)
            self._said += 1

    def _hear(self, patience: timedelta = _PATIENCE) -> str:
        assert self._store is not None  # noqa: S101 - only a process that follows listens
        key = f"clipwright/word {self._said}"
        self._store.wait([key], patience)
        self._said += 1
        return self._store.get(key).decode()

    def go(self) -> None:
        """Let the others begin; what they need must be there by now."""
        self._say(_GO)

    def end(self, code: int) -> None:
        """Tell the others that this process is done, and how it ended."""
        self._say(str(code))

    def follow(self, work: Callable[[], object]) -> None:
        """Do `work` each time the first process says so, until it ends.

        Raises:
            SystemExit: the first process failed; with its exit code.
        """
        while (word := self._hear()) == _GO:
            try:
                work()
            except ClipwrightError as error:  # the first process met the same one, and says it for all
                code = self._last_word(_code(error))
                raise SystemExit(code) from error
        if int(word):
            raise SystemExit(int(word))

    def _last_word(self, otherwise: int) -> int:
        """The exit code of the first process, unless that gets on without this one."""
        try:
            word = self._hear(_GRACE)
        except Exception:  # what a store raises when time is up differs between versions of torch
            return otherwise
        return otherwise if word == _GO else int(word)


def _code(error: BaseException) -> int:
    """The exit code that the command line gives an error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USAGE if isinstance(error, UsageError) else FAILURE


def world_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """This process's rank and the number of processes, as ``torchrun`` says them; (0, 1) where it says nothing.

    Raises:
        UsageError: the variables contradict each other or aren't numbers.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(environment):
        return 0, 1
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    except ValueError as error:
        raise UsageError("RANK and WORLD_SIZE must be numbers: start the processes with torchrun.") from error
    if not 0 <= rank < size:
        raise UsageError(f"there is no rank {rank} among {size} processes: start the processes with torchrun.")
    return rank, size


@contextmanager
def several_processes(device: str | None = None) -> Iterator[Ranks]:
    """Join the other processes that ``torchrun`` started; alone, do nothing.

    torch.distributed is initialised inside the block, with NCCL on GPUs and gloo elsewhere, and each process gets the
    GPU of its local rank. Processes that follow print nothing. However the block ends, the others hear of it.

    Args:
        device: where the work runs, as users name it; None = a GPU where there is one.

    Raises:
        UsageError: the environment contradicts itself.
    """
    rank, size = world_of(os.environ)
    if size == 1:
        yield Ranks()
        return
    with ExitStack() as stack:
        ranks = _joined(rank, size, device, stack)
        if ranks.follows:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        try:
            yield ranks
        except BaseException as error:
            if not ranks.follows:
                ranks.end(_code(error))
            raise
        if not ranks.follows:
            ranks.end(0)


def _joined(rank: int, size: int, device: str | None, stack: ExitStack) -> Ranks:
    """Initialise torch.distributed until the stack is unwound."""
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    on_gpu = torch.cuda.is_available() if device in {None, "auto"} else str(device).startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    store, _, _ = next(iter(rendezvous("env://", rank, size)))
    distributed.init_process_group("nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size)
    stack.callback(distributed.destroy_process_group)
    return Ranks(rank, size, store)
