"""Who is gone: noticed beside the training, since whoever waits for a message may wait for hours, and rightly so."""

import os
import threading
import time
from collections.abc import Callable, Sequence

from torch.distributed import Store

from artifacts.errors import PeerError

BEAT = 1.0  # seconds between two signs of life
MISSED = 4  # in a row, of a process whose connections are closed, too
SILENT = 30.0  # seconds without one, after which a machine is taken for gone
GRACE = 15.0  # seconds in which a process ends by itself, once it is known that another is gone
FAILURE = "failure"
AGAIN = "; repeat the command on all of them, and it resumes"


class Watch:
    """Gives signs of life in a store, and looks for those of the other processes, whose `hosts` are known.

    Once one is gone, `say` tells the reason and this process ends with PeerError's exit code, unless it does so by
    itself in GRACE seconds. Threads have a connection of their own each: an answer may never come.
    """

    def __init__(
        self, connect: Callable[[], Store], own: int, hosts: Sequence[str], say: Callable[[BaseException], None]
    ) -> None:
        self._store, self._beats, self._own, self._hosts, self._say = connect(), connect(), own, hosts, say
        self._heard = dict.fromkeys((one for one in range(len(hosts)) if one != own), time.monotonic())
        self._answered = time.monotonic()
        self._failure: str | None = None
        self._stopped = threading.Event()
        self._beats.add(_beat(own), 1)
        for work in (self._beat, self._judge):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def fails(self, text: str) -> bool:
        """Tells the others why this process ends; whether none has said so before with the same words."""
        if self._failure is not None:  # it ends since another has
            return True
        reason = f"process {self._own} ({self._hosts[self._own]}) ended: {text}"
        first = self._noted(reason)
        return first == reason or not first.endswith(f" ended: {text}")

    def reason(self) -> str | None:
        """Why a message could not be passed; None where all processes are there."""
        end = time.monotonic() + (MISSED + 1) * BEAT
        while self._failure is None and time.monotonic() < end:
            time.sleep(BEAT / 10)
        if self._failure is None and (gone := self._gone(MISSED * BEAT)) is not None:
            self._failure = self._noted(gone)
        return None if self._failure is None else self._failure + AGAIN

    def _noted(self, reason: str) -> str:
        """What everybody will give as the reason: the first one."""
        try:
            return str(self._store.compare_set(FAILURE, "", reason).decode())
        except RuntimeError:  # whose store it was is gone
            return reason

    def _gone(self, seconds: float) -> str | None:
        """Who has been silent for so long."""
        now = time.monotonic()
        if now - self._answered > seconds:
            return self._are_gone([0])  # who has the store
        return self._are_gone([one for one, heard in self._heard.items() if now - heard > seconds])

    def _are_gone(self, silent: Sequence[int]) -> str | None:
        names = ", ".join(f"{one} ({self._hosts[one]})" for one in silent)
        words = ("process", "is") if len(silent) == 1 else ("processes", "are")
        return f"{words[0]} {names} {words[1]} gone" if silent else None

    def _beat(self) -> None:
        seen: dict[int, bytes] = {}
        try:
            for one in self._heard:
                self._beats.wait([_beat(one)])
            while not self._stopped.wait(BEAT):
                self._beats.add(_beat(self._own), 1)
                beats = self._beats.multi_get([_beat(one) for one in self._heard])
                self._answered = time.monotonic()
                for one, beat in zip(self._heard, beats, strict=True):
                    if seen.get(one) != beat:
                        seen[one], self._heard[one] = beat, self._answered
                if self._failure is None and self._beats.check([FAILURE]):
                    self._failure = self._beats.get(FAILURE).decode()
        except RuntimeError:
            self._failure = self._failure or self._are_gone([0])

    def _judge(self) -> None:
        while not self._stopped.wait(BEAT):
            self._failure = self._failure or self._gone(SILENT)
            if self._failure is not None and not self._stopped.wait(GRACE):
                self._say(PeerError(self._failure + AGAIN))
                os._exit(PeerError.exit_code)


def _beat(place: int) -> str:
    return f"beat/{place}"
