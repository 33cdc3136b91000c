"""Listens, until a signal ends it."""

import errno
import socket
from typing import Any

import uvicorn

from artifacts.errors import ConfigError, ResourceError
from artifacts.machine.interrupts import finish
from pipeline.serving.app import application
from pipeline.serving.following import Following
from pipeline.workspace.context import Context

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECTIONS, BACKLOG = 64, 64
MOST_HEAD = 16 << 10  # bytes of a request's line and headers
IDLE_SECONDS, END_SECONDS = 5, 3


def serve(context: Context, host: str, port: int) -> dict[str, Any]:
    """Raises ConfigError where nothing is published yet or `host` is no address of this machine, ResourceError for a
    port that is taken."""
    Following(context).published()
    with _listening(host, port) as listening:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
        context.console.say(f"serve: {address} reads {context.workspace.path} and follows latest; Ctrl-C ends it")
        if host not in LOOPBACK:
            context.console.warn(f"serve: {host} can be reached from other machines, and nobody is asked who they are")
        config = uvicorn.Config(
            application(context, names_of(host)),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=MOST_HEAD,
            http="h11",
            ws="none",
            lifespan="off",
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=END_SECONDS,
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            finish()  # which is how it is meant to end
    context.console.say("serve: ended")
    return {"address": address}


def names_of(host: str) -> set[str]:
    """The names by which a browser may ask for what listens at `host`, beside addresses."""
    return {"localhost"} if host in LOOPBACK else {"localhost", host, socket.gethostname(), socket.getfqdn()}


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ResourceError(f"--port {port}: {error.strerror}; choose another") from error
        raise ConfigError(f"--host {host}: no address of this machine ({error})") from error
