"""The way to a cluster of Ray: a connection to one that runs, or one begun on this machine."""

from __future__ import annotations

import logging
import os
import re
import socket
from functools import partial
from types import ModuleType

from trainless.errors import InputError

__all__ = ["check_address", "connect"]

_ADDRESS = re.compile(r"auto|(?P<host>[^\s/:]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")
_SECONDS = 5  # until a machine that does not answer is given up

# Read by Ray as it is imported. Nothing is told to its makers, workers of this machine have the rank of its other
# processes, and a server that is none of Ray's is given up after half a minute, not after a quarter of an hour.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_py_gcs_connect_timeout_s": "10",
    "RAY_NUM_REDIS_GET_RETRIES": "2",
}


def check_address(address: str | None) -> None:
    """Refuse what is no address of a cluster; None is fine.

    Raises:
        InputError: it has another form.

    Example:
        >>> check_address("10.0.0.5")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The address of the cluster is '10.0.0.5', expected auto or HOST:PORT, such as \
10.0.0.5:6379.
    """
    if address is not None and not _ADDRESS.fullmatch(address):
        raise InputError(
            f"The address of the cluster is '{address}', expected auto or HOST:PORT, such as 10.0.0.5:6379."
        )


def connect(address: str | None, most: int | None) -> ModuleType:
    """Connect this process to a cluster, unless it is connected already, and give the module `ray`.

    The connection is quiet: what workers and the cluster print stays in Ray's log files. It ends with the process.

    Args:
        address: ``HOST:PORT`` of the cluster's head, ``"auto"`` for the cluster that this machine is a node of; None is
            what the environment's RAY_ADDRESS names, and else begins one on this machine, which it alone can reach.
        most: CPUs of one that is begun; None is all of this machine.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address within a minute.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"A cluster needs the package '{error.name}': pip install 'trainless[ray]', or use workers of this machine."
        ) from error
    if ray.is_initialized():
        return ray
    address = address or os.environ.get("RAY_ADDRESS")
    check_address(address)
    start = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    try:
        if address is None:
            start("local", num_cpus=most or os.cpu_count(), include_dashboard=False, _node_ip_address="127.0.0.1")
        else:
            _knock(address)
            start(address)
    # Of which one is a port beyond 65535.
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"No cluster of Ray can be used at {address or 'this machine'} ({reason}): give the address that "
            "`ray start --head` printed, on a machine that is a node of it."
        ) from error
    # Else what befalls a node is printed among the results, whatever `log_to_driver` says.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _knock(address: str) -> None:
    """Try whether anything listens at an address: Ray itself would try for longer.

    Raises:
        OSError: nothing does.
    """
    if (found := _ADDRESS.fullmatch(address)) and found["host"]:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _SECONDS).close()
