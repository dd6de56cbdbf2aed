"""Faults of servers: a database that is killed in mid-write, and nodes of a cluster."""

from __future__ import annotations

from fault_runs import Trial

__all__ = ["killed_database", "killed_node", "lacks_postgres", "lacks_ray"]


def lacks_postgres() -> str:
    return "not yet"


def lacks_ray() -> str:
    return "not yet"


def killed_database(trial: Trial) -> str:
    raise NotImplementedError


def killed_node(trial: Trial) -> str:
    raise NotImplementedError
