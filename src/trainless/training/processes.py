"""Start the processes of a training on this machine, follow them, and bring back what they come to."""

from __future__ import annotations

import copy
import io
import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from pickle import PicklingError
from typing import Any, NoReturn

import torch

from trainless.errors import InputError, ScoringError
from trainless.training.devices import Devices
from trainless.training.results import TrainingState
from trainless.workers import process_start

__all__ = ["train_in_processes"]

_LAST_WORDS = 2.0  # seconds for the other processes to notice that one is gone


def train_in_processes(
    train: Callable[..., Any], network: torch.nn.Module, devices: Devices, options: Mapping[str, Any],
    resume: TrainingState | None, on_epoch: Callable[[TrainingState], None],
) -> TrainingState:  # fmt: skip
    """Call a training in several processes of this machine, and give the state that it came to.

    The processes end with this call, whatever ends it: what `on_epoch` raises, an interrupt, the death of one of them.

    Args:
        train: importable by name; called as ``train(network, **options, devices=, resume=, on_epoch=)`` in each.
        network: sent to each; its class has to be importable.
        devices: where they train.
        options: sent to each.
        resume: where an earlier training stood.
        on_epoch: called in this process after each epoch.

    Raises:
        InputError: the network cannot be sent.
        ScoringError: a process died.
        RuntimeError: a process raised, or MemoryError where it was that.
    """
    job = _Job(train, _Packed(network), devices, options, None if resume is None else _to_bytes(vars(resume)))
    with tempfile.TemporaryDirectory(prefix="trainless-") as folder:
        members: list[_Member] = []
        try:
            with process_start(_Parts(tuple(network.modules()))):
                for rank in range(devices.processes):
                    members.append(_started(job, Path(folder) / "group", rank))
            last = _followed(members, on_epoch)
        except (PicklingError, AttributeError, TypeError) as error:
            if len(members) == devices.processes:
                raise
            raise InputError(
                f"The {type(network).__name__} cannot be sent to other processes ({error}): define its class at the "
                "top of a module, or start the processes with torchrun."
            ) from error
        finally:
            for member in members:  # first of all, for a second interrupt may come
                member.process.kill()
            for member in members:
                member.process.join()
                member.connection.close()
    if last is None and resume is None:
        raise ScoringError("The processes of the training ended without an epoch.")
    return last or resume  # type: ignore[return-value]


@dataclass(frozen=True)
class _Parts:
    modules: tuple[torch.nn.Module, ...]


@dataclass(frozen=True)
class _Job:
    train: Callable[..., Any]
    network: _Packed
    devices: Devices
    options: Mapping[str, Any]
    resume: bytes | None


class _Packed:
    """A network whose numbers are sent as bytes: PyTorch would keep a file open for each tensor that it sends."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def __getstate__(self) -> dict[str, Any]:
        # The numbers are not copied, but left out of the copy.
        memo = {id(buffer): buffer.detach().new_empty(0) for buffer in self.network.buffers()}
        memo |= {
            id(parameter): torch.nn.Parameter(parameter.detach().new_empty(0), parameter.requires_grad)
            for parameter in self.network.parameters()
        }
        numbers = {name: value.detach() for name, value in _tensors(self.network).items()}
        return {"network": copy.deepcopy(self.network, memo), "numbers": _to_bytes(numbers)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.network = state["network"]
        numbers = _from_bytes(state["numbers"])
        for name, value in _tensors(self.network).items():
            value.data = numbers[name]


def _tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _to_bytes(values: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(values), file)
    return file.getvalue()


def _from_bytes(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True)


@dataclass(eq=False)
class _Member:
    rank: int
    process: Any
    connection: Any
    errors: list[tuple[float, type[Exception], str]] = field(default_factory=list)
    is_done: bool = False

    def hear(self, on_epoch: Callable[[TrainingState], None] | None) -> TrainingState | None:
        """Take one message; a member that is gone says nothing more, which counts as an end without a word."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            kind, content = "gone", None
        if kind == "state" and on_epoch:
            state = TrainingState(**_from_bytes(content))
            on_epoch(state)
            return state
        if kind == "error":
            self.errors.append(content)
        self.is_done = self.is_done or kind == "done"
        if kind in ("error", "gone") and not self.is_done:
            raise _Failed
        return None


class _Failed(Exception):  # noqa: N818
    pass


def _started(job: _Job, file: Path, rank: int) -> _Member:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(job, file, rank, theirs), daemon=True, name="trainless-training")
    try:
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Member(rank, process, ours)


def _followed(members: Sequence[_Member], on_epoch: Callable[[TrainingState], None]) -> TrainingState | None:
    last = None
    while waiting := {member.connection: member for member in members if not member.is_done}:
        for connection in wait(list(waiting)):
            try:
                last = waiting[connection].hear(on_epoch) or last
            except _Failed:
                _tell(members)
    return last


def _tell(members: Sequence[_Member]) -> NoReturn:
    """Raise the first cause: where one is gone, the others complain too."""
    until = time.monotonic() + _LAST_WORDS
    for member in members:
        member.process.join(max(0.0, until - time.monotonic()))
        with suppress(_Failed):
            while not member.is_done and member.connection.poll():
                member.hear(None)
    errors = sorted((error for member in members for error in member.errors), key=lambda error: error[0])
    silent = [
        member for member in members if not (member.errors or member.is_done) and member.process.exitcode is not None
    ]
    if silent or not errors:
        rank, code = (silent[0].rank, silent[0].process.exitcode) if silent else (0, None)
        raise ScoringError(
            f"Process {rank + 1} of {len(members)} of the training died (exit code {code}), maybe for want of memory: "
            "take fewer devices or a smaller batch."
        ) from None
    _, kind, text = errors[0]
    raise kind(text) from None


def _serve(job: _Job, file: Path, rank: int, connection: Any) -> None:
    """The life of a process: train with the others, tell of it, wait until the parent is done with it."""
    from trainless.training.distributed import join_by_file

    try:
        join_by_file(job.devices, file, rank)
        job.train(
            job.network.network, **job.options, devices=job.devices,
            resume=None if job.resume is None else TrainingState(**_from_bytes(job.resume)),
            on_epoch=lambda state: connection.send(("state", _to_bytes(vars(state)))),
        )  # fmt: skip
        connection.send(("done", None))
        with suppress(EOFError, OSError):
            connection.recv()
    except Exception as error:
        kind = MemoryError if isinstance(error, MemoryError) else RuntimeError
        text = " ".join("".join(traceback.format_exception_only(error)).split())
        with suppress(OSError):
            connection.send(("error", (time.monotonic(), kind, f"{text} (in process {rank + 1} of the training)")))
