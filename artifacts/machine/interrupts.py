"""SIGTERM, SIGINT and SIGHUP end a command once, in order, wherever it is.

Python's own way, an exception out of the signal's handler, loses the signal where a C library has called Python: an
exception in a finaliser is printed and forgotten, HDF5 stumbles over one in its stream, DuckDB and Arrow make another
error of it. So here the handler does not raise in callbacks that say so (`called_by_c`) and in finalisers, and whatever
was asked is asked again until the exception is on its way; `asked` tells those who translate errors.
"""

import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AGAIN_SECONDS = 0.05
_FINALISERS = {weakref.__file__, weakref.WeakSet.__init__.__code__.co_filename}
_callbacks: set[CodeType] = set()
_asked = False


def called_by_c(function: Callable[P, T]) -> Callable[P, T]:
    """Marks a function that a C library calls and that must not raise: a signal waits until it has returned."""
    _callbacks.add(function.__code__)
    return function


def asked() -> bool:
    """Whether a signal has asked the command to end. An error that comes after it may be what became of it."""
    return _asked


@contextmanager
def interruptible(program: bool) -> Iterator[None]:
    """Signals raise KeyboardInterrupt in the block, once. Those that the caller had ignored (`nohup`, a shell's `&`)
    stay ignored. After the block a `program` hears no more of them: all is done.
    """
    global _asked
    _asked = False
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {one: found for one in SIGNALS if (found := signal.getsignal(one)) in usual or one == signal.SIGTERM}
    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    for one in before:
        signal.signal(one, _interrupt)
    signal.siginterrupt(signal.SIGALRM, False)
    hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    finally:
        silence()
        sys.unraisablehook = hook
        for one, found in before.items():
            signal.signal(one, signal.SIG_IGN if program else found)


def silence() -> None:
    """What was asked is being answered: it is not asked again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def finish() -> None:
    """All is done but for the answer: signals change nothing any more, nor does the one that has just come."""
    global _asked
    silence()
    _asked = False
    for one in SIGNALS:
        if signal.getsignal(one) is _interrupt:
            signal.signal(one, signal.SIG_IGN)


@contextmanager
def blocked() -> Iterator[None]:
    """No signal arrives in the block, nor in a process that is started in it before it calls `unblock`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@called_by_c
def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal asks, and an alarm asks again; further ones change nothing while what was begun is put away."""
    global _asked
    if _asked and number != signal.SIGALRM:
        return
    first, _asked = not _asked, True
    if first:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    handling = sys.exc_info()[1] is not None  # on its way, or turned into another error that is
    if not (_must_not_raise(frame) or (handling and not first)):
        raise KeyboardInterrupt


def _must_not_raise(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code in _callbacks or code.co_name == "__del__" or code.co_filename in _FINALISERS:
            return True
        frame = frame.f_back
    return False


@called_by_c
def _unraisable(lost: Any) -> None:
    """A KeyboardInterrupt that nobody can catch is asked for again; anything else is said as ever."""
    if not (_asked and issubclass(lost.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(lost)
