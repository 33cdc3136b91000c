"""Which of the ranks of a training this process is, and where they meet. Light: every command asks."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import ConfigError
from pbg_transra.config import MachinesConfig

TORCHRUN = "TORCHELASTIC_RUN_ID"  # it set the environment, and its agent listens on MASTER_PORT
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR")  # torch's convention; Slurm scripts follow it, too
LOOPBACK = "127.0.0.1"
LAST_PORT = 65_535


@dataclass(frozen=True)
class Place:
    """This process is `rank` of `count`. Rank 0 listens on `host` and `port` (0: any that is free), and writes into
    the file `meeting` where the others find it. `timeout`: seconds that a rank is waited for."""

    rank: int
    count: int
    host: str
    port: int
    timeout: float
    meeting: Path


def place_of(
    machines: MachinesConfig | None, rank: int | None, environment: Mapping[str, str], meeting: Path
) -> Place | None:
    """None where one machine trains. Raises ConfigError for what does not say who listens where.

    `rank`: what the command line says. What a launcher (torchrun) has set counts where neither that nor the config
    says.
    """
    launched = all(environment.get(name) for name in LAUNCHED)
    if machines is None and not launched:
        if rank is not None:
            raise ConfigError(f"--rank {rank}: expected model.machines, or {', '.join(LAUNCHED)} of a launcher")
        return None
    number = rank if rank is not None else _whole(environment, "RANK", 0) if launched else 0
    count = machines.ranks if machines else _whole(environment, "WORLD_SIZE", 1)
    if number >= count:
        raise ConfigError(f"rank {number}: expected one below the {count} of model.machines.ranks or WORLD_SIZE")
    if count == 1:
        return None
    host, port = _host(machines, environment), _port(machines, environment)
    return Place(number, count, _one_address(host), port, _timeout(machines), meeting)


def _host(machines: MachinesConfig | None, environment: Mapping[str, str]) -> str:
    if machines and machines.address:
        return machines.address
    if TORCHRUN in environment and environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE"):
        return LOOPBACK  # all are on this machine, and its name, which torchrun gives, need not be one of the network
    return environment.get("MASTER_ADDR", "")


def _port(machines: MachinesConfig | None, environment: Mapping[str, str]) -> int:
    if machines and machines.address:
        return machines.port
    port = 0 if TORCHRUN in environment else _whole(environment, "MASTER_PORT", 0)
    if port > LAST_PORT:
        raise ConfigError(f"MASTER_PORT={port}: expected a port, at most {LAST_PORT}")
    return port


def _timeout(machines: MachinesConfig | None) -> float:
    return (machines or MachinesConfig(ranks=2)).timeout


def _one_address(host: str) -> str:
    """Raises ConfigError for none, and for all of a machine's addresses."""
    if not host:
        raise ConfigError("model.machines.address: missing, expected the address that rank 0 listens on")
    if is_address(host) and ipaddress.ip_address(host).is_unspecified:
        raise ConfigError(f"model.machines.address: '{host}' is every address of the machine, expected one of them")
    return host


def is_address(host: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name}={text!r}: expected a whole number")
    return int(text)
