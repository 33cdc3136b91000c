"""Which of the processes that train one model this one is, where they meet, and where each computes."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psutil
import torch

# Its default arguments keep the group that exists when it is imported, and torch's optimisers import it: imported only
# then, the group outlives destroy_process_group, and gloo's threads abort the process while the interpreter goes down.
import torch.distributed.nn.functional
from torch import distributed
from torch.distributed import PrefixStore, Store, TCPStore

from artifacts.errors import ConfigError, PeerError, TransraError
from ranker.processes.watch import AGAIN, BEAT, Watch

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # torch's convention; Slurm scripts follow it, too
LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")
LAST_PORT = 65_535
ALONE = ", or unset WORLD_SIZE for one process alone"  # a shell or a pod may have it from elsewhere
ARRIVAL = timedelta(seconds=300)  # for all to come, as `model.machines.timeout` says by default
WAIT = timedelta(hours=6)  # for a message: the first prepares meanwhile. Who is gone is noticed by `Watch`
LINGER = 3 * BEAT  # seconds in which the others read why the process ended that has the store

_watch: Watch | None = None


@dataclass(frozen=True)
class Meeting:
    """This process is `place` of `count`; the store of all is at `host` and `port`: here, where it `hosts_store`."""

    place: int
    count: int
    host: str
    port: int
    hosts_store: bool
    of_torchrun: bool
    on_one_machine: bool
    attempt: str  # of torchrun's, which may start processes again

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Meeting | None":
        """None where no launcher has started several processes; a pod of one has the variables, too. Raises ConfigError
        for what does not say who listens where."""
        if not all(environment.get(name) for name in LAUNCHED):
            return None
        place, count, port = (_whole(environment, name) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        if place >= count:
            raise ConfigError(f"RANK={place}: expected one below WORLD_SIZE={count}")
        if count == 1:
            return None
        if not 0 < port <= LAST_PORT:
            raise ConfigError(f"MASTER_PORT={port}: expected one that is free on process 0's machine, 1 to {LAST_PORT}")
        if (host := environment["MASTER_ADDR"]) in EVERY_ADDRESS:
            raise ConfigError(f"MASTER_ADDR={host}: is every address of a machine, expected one of process 0's")
        agents = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return cls(
            place=place,
            count=count,
            host=host,
            port=port,
            hosts_store=place == 0 and not agents,
            of_torchrun="TORCHELASTIC_RUN_ID" in environment,
            on_one_machine=environment.get("LOCAL_WORLD_SIZE") == str(count),
            attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )

    def store(self) -> Store:
        """A connection to the store. Raises PeerError where it is not to be found in time."""
        try:
            found = TCPStore(self.host, self.port, None, False, ARRIVAL, wait_for_workers=False)
        except RuntimeError as error:
            seconds = ARRIVAL.total_seconds()
            at = f"{self.host}:{self.port}"
            raise PeerError(f"process 0 was not to be met at {at} within {seconds:g} s{AGAIN}{ALONE}") from error
        return PrefixStore(f"ranker/{self.attempt}", found)

    def opened(self) -> Store:
        """The store of all, in the process that has it: on its one address. Raises ConfigError."""
        try:
            listening = socket.create_server((self.host, self.port), backlog=self.count)
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError(f"MASTER_ADDR: process 0 cannot listen on {self.host}:{self.port}: {why}") from error
        handle = listening.detach()
        return TCPStore(self.host, self.port, None, True, ARRIVAL, wait_for_workers=False, master_listen_fd=handle)

    def all_come(self, store: Store) -> list[str]:
        """The hosts of all processes. Raises PeerError for those that do not come in time."""
        keys = [f"host/{one}" for one in range(self.count)]
        store.set(keys[self.place], socket.gethostname())
        try:
            store.wait(keys, ARRIVAL)
        except RuntimeError as error:
            missing = f"{self._missing(store, keys)} within {ARRIVAL.total_seconds():g} s"
            raise PeerError(f"{missing}{AGAIN}{ALONE}") from error
        return [host.decode() for host in store.multi_get(keys)]

    def _missing(self, store: Store, keys: Sequence[str]) -> str:
        try:
            missing = [str(one) for one, key in enumerate(keys) if not store.check([key])]
        except RuntimeError:  # process 0, which has the store, has said who it is and left
            return "not all processes came"
        return f"process{'es' if len(missing) > 1 else ''} {', '.join(missing)} did not come"


@contextmanager
def joined(say: Callable[[BaseException], None]) -> Iterator[None]:
    """Joins the processes that were started together with this one, if any were.

    `say` is told what ends the block, or the process: of what ends all processes of a torchrun alike, one says it.
    """
    global _watch
    with _saying(say):
        meeting = Meeting.of(os.environ)
        kept = meeting.opened() if meeting is not None and meeting.hosts_store else None  # the store itself
        watch = None if meeting is None else _met(meeting, say)
    if meeting is None or watch is None:
        with _saying(say):
            yield
        return
    _watch = watch
    try:
        _begin(meeting)
        yield
        with reaching():
            distributed.all_reduce(torch.zeros(1))  # nobody leaves before all have come to the end
    except BaseException as error:
        watch.stop()
        if watch.fails(_words(error)) or not meeting.of_torchrun:
            say(error)
        raise
    finally:
        watch.stop()
        _watch = None
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if kept is not None and sys.exc_info()[0] is not None:
            time.sleep(LINGER)
        del kept


@contextmanager
def _saying(say: Callable[[BaseException], None]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        say(error)
        raise


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "; ".join(error.lines) if isinstance(error, TransraError) else f"{type(error).__name__}: {error}"


def _met(meeting: Meeting, say: Callable[[BaseException], None]) -> Watch:
    hosts = meeting.all_come(meeting.store())
    return Watch(meeting.store, meeting.place, hosts, say)


def _begin(meeting: Meeting) -> None:
    """Makes torch's process group, which listens where the store is reached."""
    if (interface := interface_to(LOOPBACK if meeting.on_one_machine else meeting.host)) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    if torch.cuda.is_available():
        torch.cuda.set_device(_whole(os.environ, "LOCAL_RANK") if "LOCAL_RANK" in os.environ else 0)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with reaching():
        distributed.init_process_group(
            backend, store=meeting.store(), rank=meeting.place, world_size=meeting.count, timeout=WAIT
        )


@contextmanager
def reaching() -> Iterator[None]:
    """Around every message. Raises PeerError where another process is gone, which torch says in many ways."""
    try:
        yield
    except RuntimeError as error:
        if _watch is None or (reason := _watch.reason()) is None:
            raise
        raise PeerError(reason) from error


def interface_to(host: str) -> str | None:
    """The network interface by which this machine reaches a host, itself included; None where that is not known."""
    try:
        family, *_, (address, *_) = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0]
        own = {one.address: name for name, found in psutil.net_if_addrs().items() for one in found}
        if address in own:
            return own[str(address)]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            return own.get(probe.getsockname()[0])
    except OSError:
        return None


def _whole(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdecimal():
        raise ConfigError(f"{name}={environment[name]!r}: expected a whole number")
    return int(environment[name])


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def place() -> int:
    """Which of the processes this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def device(asked: str = "auto") -> torch.device:
    """The GPU of this process, where there is one, unless `ranker.device` is "cpu"."""
    if asked == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def require_device(asked: str) -> None:
    """Raises ConfigError where `ranker.device` asks for a GPU and there is none."""
    if asked == "cuda" and not torch.cuda.is_available():
        expected = "expected 'cpu' or 'auto'"
        raise ConfigError(f"ranker.device: 'cuda': torch {torch.__version__} sees no GPU here; {expected}")
