"""A PostgreSQL server of its own on loopback, of Debian's binaries, with one role for everything and a password."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.worlds.required import lacks

PASSWORD = "open sesame/@:%"
ENCODED = "open%20sesame%2F%40%3A%25"


class PostgresServer:
    """A running server; `url` is what the environment of a config holds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"postgresql://reader:{ENCODED}@127.0.0.1:{port}/logs"

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for sql in statements:
                connection.execute(sql.encode())

    def fill(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """Makes a table anew."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {table} CASCADE".encode())
            connection.execute(f"CREATE TABLE {table} ({columns})".encode())
            places = ", ".join(["%s"] * len(rows[0]))
            connection.cursor().executemany(f"INSERT INTO {table} VALUES ({places})".encode(), rows)

    def fresh(self) -> None:
        """Nothing of an earlier test is left."""
        self.run("ALTER DATABASE logs RESET ALL", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        self.run("GRANT USAGE ON SCHEMA public TO PUBLIC")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        lacks("POSTGRES", "/usr/lib/postgresql has no server; apt-get install postgresql")
    # Not below pytest's directory, into which only its owner may go: a server does not run as root.
    directory = Path(tempfile.mkdtemp(prefix="transra-postgres-", dir="/tmp"))
    try:
        yield from _served(binaries[-1].parent, directory)
    finally:
        shutil.rmtree(directory)


def _served(binaries: Path, directory: Path) -> Iterator[PostgresServer]:
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        os.chown(directory, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    (directory / "password").write_text(PASSWORD)
    (directory / "password").chmod(0o644)
    data, log = directory / "data", directory / "log"
    made = [binaries / "initdb", "-D", data, "-U", "reader", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"]
    subprocess.run([*made, "-N", "--pwfile", directory / "password"], check=True, stdout=subprocess.DEVNULL, **user)
    server = PostgresServer(_free_port())
    options = f"-p {server.port} -h 127.0.0.1 -k {directory} -F"
    control = [binaries / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-l", log, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, **user)
    try:
        with psycopg.connect(server.url.replace("/logs", "/postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE logs")
        yield server
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, **user)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port
