"""PostgreSQL servers: the connection, the one transaction in which all is read, and what errors mean.

An environment variable has the connection string, or libpq finds its own (PGSERVICE, PGHOST, PGPASSFILE); no message
repeats any part of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from artifacts.errors import ConfigError, DataError, TransraError
from partitioning.config.sections import PostgresConfig

if TYPE_CHECKING:
    import psycopg

# Rows as text must not differ from session to session: they are compared, and they are what is read. Scans begin where
# another session's is unless they are told not to, and the order of rows would change.
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL synchronize_seqscans = off"
)
# A server that is gone without a word is noticed within two minutes, unless the connection string says otherwise.
_DEFAULTS = {"connect_timeout": 30, "keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
_UNREACHED = {
    r"password authentication failed": "the password or the user is wrong",
    r"no password supplied": "the server wants a password; expected it there or in PGPASSFILE",
    r"database \".*\" does not exist": "there is no such database",
    r"role \".*\" does not exist": "there is no such user",
    r"no pg_hba.conf entry": "the server's pg_hba.conf does not let this user in from here",
    r"permission denied for database": "the user may not use this database",
    r"too many (clients|connections)": "the server has too many connections; run again",
    r"starting up|shutting down|recovery mode": "the server is starting or stopping; run again",
    r"definition of service": "there is no such service; expected it in PGSERVICEFILE or ~/.pg_service.conf",
    r"could not translate host name|failed to resolve host": "the host is not known",
    r"Connection refused|timeout expired|No such file or directory|unreachable|No route": "no server answers there",
    r"SSL|certificate": "the server and this connection do not agree on SSL",
}


def require_driver(path: str) -> None:
    """Raises ConfigError where the package is missing that the config needs at `path`."""
    try:
        import psycopg  # noqa: F401  only whether it can be
    except ImportError:  # also where the package is there, but libpq is not
        raise ConfigError(f"{path}: the package 'psycopg' is not installed; `pip install '.[postgres]'`") from None


class Servers:
    """Connections of one look at the sources: all tables of a server are read within one transaction."""

    def __init__(self) -> None:
        self._open: dict[str, psycopg.Connection[Any]] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def connection(self, name: str, config: PostgresConfig) -> psycopg.Connection[Any]:
        """The connection of a source. Raises ConfigError for one that is not described, DataError for none."""
        require_driver(f"graph.sources.{name}.postgres")
        url = _url(name, config)
        if url not in self._open:
            connection = _connect(name, url)
            self._closing.callback(connection.close)
            self._open[url] = connection
        return self._open[url]


@contextmanager
def asking(name: str, key: str | None = None) -> Iterator[None]:
    """Raises what a server says of a source as ConfigError or DataError; `key` of its config is what was asked."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _ours(name, key, error) from error


def _url(name: str, config: PostgresConfig) -> str:
    """The connection string, completed. Raises ConfigError where the environment has none, or one that is none."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    path = f"graph.sources.{name}.postgres.url_env"
    given = os.environ.get(config.url_env, "") if config.url_env else ""
    if config.url_env and not given:
        raise ConfigError(f"{path}: the environment variable {config.url_env} is not set; expected postgresql://...")
    try:
        return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(given)})
    except ProgrammingError:
        pass  # the error repeats the string, and so would a traceback of ours
    raise ConfigError(f"{path}: {config.url_env} is no connection string; expected postgresql://user@host/database")


def _connect(name: str, url: str) -> psycopg.Connection[Any]:
    import psycopg

    try:
        connection: psycopg.Connection[Any] = psycopg.connect(url, client_encoding="utf8", prepare_threshold=None)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(_SETTINGS)  # the transaction begins; its snapshot is taken with the first question
        return connection
    except psycopg.Error as error:
        said = str(error)  # may repeat a part of the connection string: it is not passed on
    why = next((told for sign, told in _UNREACHED.items() if re.search(sign, said)), "the connection failed")
    raise DataError(f"source '{name}': cannot connect to PostgreSQL: {why}")


def _ours(name: str, key: str | None, error: psycopg.Error) -> TransraError:
    state, said = error.sqlstate or "", " ".join((error.diag.message_primary or str(error)).split())
    if not state or state.startswith(("08", "57P")):
        return DataError(f"source '{name}': the connection to PostgreSQL was lost while it was read; run again")
    if state.startswith(("0A", "25", "3F", "42")) and state != "42501":
        path = f"graph.sources.{name}.postgres" + (f".{key}" if key else "")
        return ConfigError(f"{path}: {said}; expected a table, or one SELECT")
    return DataError(f"source '{name}': PostgreSQL says: {said}")
