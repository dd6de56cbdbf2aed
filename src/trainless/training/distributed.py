"""Distributed training: process groups, their rendezvous, and agreement on values."""

from __future__ import annotations

import atexit
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from trainless.errors import InputError
from trainless.training.devices import Devices

__all__ = ["Joined", "agreed", "backend_of", "is_launched", "join", "join_by_file", "summed"]

Value = TypeVar("Value")


class Joined(LightningEnvironment):
    """A process group that exists already, as an environment of Lightning."""

    @property
    def creates_processes_externally(self) -> bool:
        """Whether Lightning need not start processes."""
        return True

    def world_size(self) -> int:
        """Number of processes."""
        return dist.get_world_size()

    def global_rank(self) -> int:
        """Number of this process, from 0."""
        return dist.get_rank()

    def local_rank(self) -> int:
        """Number of this process among those of its machine, from 0."""
        return _local_rank()


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)


def is_launched() -> bool:
    """Whether this process is one of several that something else started for a common training.

    Example:
        >>> is_launched()
        False
    """
    return dist.is_available() and (dist.is_initialized() or _launcher() is not None)


def _launcher() -> ClusterEnvironment | None:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        return SLURMEnvironment(auto_requeue=False)
    return None


def backend_of(devices: Devices) -> str:
    """Name what carries messages between processes."""
    return "nccl" if devices.accelerator == "gpu" else "gloo"


def join(devices: Devices) -> None:
    """Join the process group of the processes that torchrun or SLURM started, unless it has been joined.

    Raises:
        InputError: there are not as many processes as wanted.
    """
    launcher = _launcher()
    if not dist.is_initialized() and launcher is not None:
        _use_gpu(devices)
        address = f"tcp://{launcher.main_address}:{launcher.main_port}"
        dist.init_process_group(
            backend_of(devices), address, rank=launcher.global_rank(), world_size=launcher.world_size()
        )
        atexit.register(_leave)  # not earlier: the same address serves but one group
    started = dist.get_world_size() if dist.is_initialized() else 1
    if started != devices.processes:
        raise InputError(
            f"The processes started are {started}, but {devices.nodes} nodes with {devices.devices} devices each are "
            "wanted: start as many, as with torchrun --nnodes and --nproc-per-node."
        )


def join_by_file(devices: Devices, file: Path, rank: int) -> None:
    """Join a process group of this machine, whose rendezvous is a file: no port need be free.

    Args:
        devices: where they train.
        file: a path that all of them are given.
        rank: number of this process, from 0.
    """
    os.environ["LOCAL_RANK"] = str(rank)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # what they say need not leave the machine
    _use_gpu(devices)
    store = dist.FileStore(str(file), devices.processes)  # type: ignore[attr-defined]
    dist.init_process_group(
        backend_of(devices), store=store, rank=rank, world_size=devices.processes, timeout=timedelta(hours=1)
    )


def _use_gpu(devices: Devices) -> None:
    if devices.accelerator == "gpu":
        torch.cuda.set_device(_local_rank())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def agreed(value: Value) -> Value:
    """Broadcast the value of the first process: what depends on clock or rounding must be alike in all."""
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """All-reduce a tensor: the sum over all processes, in place."""
    dist.all_reduce(tensor)
    return tensor
