"""Run the passes that a set of proxies needs, each once, on copies of the weights.

This is the one place that touches a network's modes, hooks and random state, and it puts all of them back. Weights,
gradients and running statistics are never touched: the network runs on copies of them, laid out channels-last, in the
precision that was asked for, whatever modes of PyTorch are in force around it.
"""

from __future__ import annotations

import gc
import sys
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from trainless.errors import NetworkError
from trainless.hardware import is_out_of_memory
from trainless.passes.inputs import INPUTS
from trainless.passes.observers import Rules
from trainless.passes.plan import Measured, PassPlan, merge_backwards, recorder_of, signal_name
from trainless.passes.recorders import RECORDERS, Backward, ForwardAgain, Recorder
from trainless.passes.run import Batch, Clock, Run, Streams
from trainless.passes.signals import PassSpec, Signals
from trainless.passes.units import Masks
from trainless.seeding import derive_seed, preserve_rng_state

__all__ = ["PassResult", "run_passes"]


@dataclass(slots=True)
class PassResult:
    """What one pass gave: its signals, the reasons for those it could not measure, and what it cost.

    Args:
        signals: what was measured, or None where nothing was.
        seconds: what the whole pass took.
        failure: why the pass, or a signal of it, failed; empty if all went well.
        failures: for each signal that failed, why.
        parts: seconds of the parts of the pass, none of which contains another.
        backwards: for each signal the backward pass that it needs.
    """

    signals: Signals | None
    seconds: float
    failure: str = ""
    failures: Mapping[Measured, str] = field(default_factory=dict)
    parts: Mapping[Hashable, float] = field(default_factory=dict)
    backwards: Mapping[Measured, Backward] = field(default_factory=dict)

    def failure_of(self, wanted: frozenset[Measured]) -> str:
        """Why some of these signals were not measured; empty if they were."""
        if self.signals is None:
            return self.failure
        return next((reason for signal, reason in self.failures.items() if signal in wanted), "")

    def seconds_of(self, wanted: frozenset[Measured]) -> float:
        """What a pass for these signals alone would have taken: no recorder and no backward pass but theirs."""
        recorders = {recorder_of(signal) for signal in wanted}
        needed = {backward for signal, backward in self.backwards.items() if signal in wanted}
        return sum(
            seconds
            for part, seconds in self.parts.items()
            if part in needed or part in recorders or not isinstance(part, type | Backward)
        )


def run_passes(
    network: nn.Module,
    images: torch.Tensor | Batch,
    labels: torch.Tensor | None,
    plan: PassPlan,
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    generators: Streams | None = None,
) -> dict[PassSpec, PassResult]:
    """Run each pass of a plan once on a network and measure the signals wanted of it.

    The network is left exactly as it was: weights, gradients, buffers, hooks, modes; so is the global random state.
    A pass that fails does not stop the others, nor does a signal that fails.

    Args:
        network: any module that maps images to one tensor of shape ``(images, classes)``.
        images: the batch, shape ``(images, channels, height, width)``; its device is where everything runs. Several
            inputs are a tuple of tensors.
        labels: class of each image, shape ``(images,)``; may be None where no signal needs the loss.
        plan: for each pass the signals that are wanted.
        seed: everything random in a pass is drawn from streams that depend on it and the pass alone.
        dtype: precision of all passes but those that fix their own; None is the network's.
        generators: the source of a stream by its name, in place of the one derived from `seed`.

    Returns:
        For each pass its result; its failures tell in one sentence why something was not measured.

    Example:
        >>> from trainless.passes import Signal
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> spec = PassSpec(input="ones", weights="absolute", batch_norm="bypassed", float64=True)
        >>> result = run_passes(network, torch.zeros(2, 1, 4, 4), None, {spec: frozenset({Signal.WEIGHTS})})
        >>> [tuple(weight.shape) for weight in result[spec].signals.weights]
        [(2, 1, 3, 3), (2, 8)]
    """
    results = {}
    batch = (images,) if isinstance(images, torch.Tensor) else tuple(images)
    with preserve_rng_state(), _usual_modes(batch[0].device.type), _no_collections():
        # Labels that were made in inference mode cannot be kept for a backward pass.
        labels = labels.clone() if labels is not None and labels.is_inference() else labels
        for spec, wanted in plan.items():
            start = time.perf_counter()
            one_pass = _Pass(network, batch, labels, spec, wanted, seed, dtype, generators)
            try:
                signals, failure = one_pass.run(), next(iter(one_pass.failures.values()), "")
            except Exception as error:  # a network is foreign code: whatever it raises belongs to its record
                signals, failure = None, failure_reason(error)
            if batch[0].is_cuda:  # what was asked of it may not be computed yet
                torch.cuda.synchronize(batch[0].device)
            seconds = time.perf_counter() - start
            results[spec] = one_pass.result(signals, seconds, failure)
    return results


def failure_reason(error: Exception) -> str:
    """Say in one line why something failed, whatever a network or a formula raised.

    Example:
        >>> failure_reason(KeyError("conv")), failure_reason(MemoryError())
        ("KeyError: 'conv'", 'memory did not suffice')
    """
    if isinstance(error, NetworkError):
        return str(error)
    if is_out_of_memory(error):
        return "memory did not suffice"
    line = (str(error).strip().splitlines() or ["no message"])[0][:300]
    return f"{type(error).__name__}: {line}"


@contextmanager
def _usual_modes(device: str) -> Iterator[None]:
    """Gradients on, inference mode, autocast and rounded products off, whatever the caller has set.

    The default dtype comes back.
    """
    dtype = torch.get_default_dtype()
    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(False),
            torch.enable_grad(),
            nullcontext() if device == "meta" else torch.autocast(device, enabled=False),
            _unrounded_products(),
            # Compiled functions hide what they call. Where the compiler is not loaded there are none.
            torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext(),
        ):
            # Of checkpoints, which are run without a graph too, and of compiled modules, which are not run as such.
            warnings.filterwarnings("ignore", "None of the inputs have requires_grad=True", UserWarning)
            warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def _unrounded_products() -> Iterator[None]:
    """Products of float32 numbers as they are, and by the same way each time.

    PyTorch has GPUs round them to 10 bits in convolutions unless told otherwise, and
    `torch.set_float32_matmul_precision` has CPUs round them too.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    kinds = (backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic


@contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage collections: one goes through all that the process has loaded, and takes as long as a small pass."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _refuse_broken(run: Run, output: torch.Tensor) -> None:
    """Refuse weights that are NaN or infinite, of which what counts signs would make numbers all the same."""
    if output.is_meta or bool(output.isfinite().all()):  # what is used of them would show there
        return
    for name, tensor in run.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NetworkError(f"The network's '{name}' holds NaN or infinite numbers: train it anew, or draw it anew.")


class _Pass:
    """One pass over one network: it drives the recorders through forward and backward passes."""

    def __init__(
        self, network: nn.Module, images: Batch, labels: torch.Tensor | None, spec: PassSpec,
        wanted: frozenset[Measured], seed: int, dtype: torch.dtype | None, generators: Streams | None,
    ) -> None:  # fmt: skip
        self.network, self.images, self.labels, self.spec = network, images, labels, spec
        self.seed, self.dtype = seed, dtype
        self.streams = _remembered(generators or (lambda name: torch.Generator().manual_seed(derive_seed(seed, name))))
        # In one order, so that the company a signal is measured in changes nothing.
        order = [
            *(signal for signal in RECORDERS if signal in wanted),
            *sorted(wanted - set(RECORDERS), key=signal_name),
        ]
        self.recorders: dict[Measured, Recorder] = {signal: recorder_of(signal)() for signal in order}
        self.backwards = merge_backwards(spec, order)
        self.failures: dict[Measured, str] = {}
        self.clock = Clock()
        self.classes = 0

    def run(self) -> Signals:
        if isinstance(self.network, torch.jit.ScriptModule):
            raise NetworkError("The network is a TorchScript module, which cannot be observed: give the Python module.")
        for _ in range(self.spec.repeats):
            self._repeat()
        signals = Signals(labels=self.labels, classes=self.classes)
        for signal, recorder in self.recorders.items():
            if signal not in self.failures:
                value = recorder.value()
                if value is None:
                    signals.reasons[recorder.name] = recorder.reason
                setattr(signals, recorder.name, value)
        return signals

    def result(self, signals: Signals | None, seconds: float, failure: str) -> PassResult:
        backwards = {signal: backward for backward, shared in self.backwards.items() for signal in shared}
        return PassResult(signals, seconds, failure, self.failures, self.clock.parts, backwards)

    def _repeat(self) -> None:
        with self.clock("copies"):
            run = Run(
                self.network, self.images, self.labels, self.spec, self.dtype, self.seed, self.streams, self.clock
            )
            torch.set_default_dtype(run.dtype)
            batches = INPUTS[self.spec.input](run)
            first = next(batches, None)
        if first is None:
            self._finish(run)
            return
        with run.active():
            for batch in chain([first], batches):
                self._forward_and_backward(run, batch)
            self.classes = run.classes
            self._finish(run)

    def _forward_and_backward(self, run: Run, batch: Batch) -> None:
        wrt = {backward.wrt for backward in self.backwards}
        graph = bool(wrt) or any(recorder.needs_graph for recorder in self.recorders.values())
        goes_back = bool(wrt) or any(r.needs_graph and r.goes_back for r in self.recorders.values())
        run.tracker.differentiates = "weights" in wrt
        while True:
            with ExitStack() as stack:
                with self.clock("forward"):
                    run.inputs = tuple(
                        tensor.requires_grad_(graph and tensor.is_floating_point())
                        for tensor in map(run.lay_out, batch)
                    )
                    run.tracker.listeners.clear()
                    run.masks = Masks(self.spec.masked, run.streams("masks")) if self.spec.masked else None
                    rules: list[Rules] = [run.masks.rules] if run.masks else []
                    for signal, recorder in self.recorders.items():
                        self._guarded(signal, recorder.begin, run)
                        if signal not in self.failures:
                            stack.enter_context(recorder.watching(run))
                            rules.append(self._timed(recorder.rules(run), type(recorder)))
                    # A graph that nothing goes back through needs no activations, which take most of the memory.
                    kept = nullcontext() if goes_back else saved_tensors_hooks(lambda tensor: None, _unpacked)
                    with run.tracker.watching(*rules), torch.set_grad_enabled(graph), kept:
                        output = run.checked(run.forward(*run.inputs), len(run.inputs[0]))
                    run.tracker.refuse_unseen(output)
                    _refuse_broken(run, output)
                    run.layers = run.tracker.layers()
                try:
                    for signal, recorder in self.recorders.items():
                        self._guarded(signal, recorder.after_forward, run, output)
                except ForwardAgain:
                    continue
                self._backward(run, output)
                return

    def _backward(self, run: Run, output: torch.Tensor) -> None:
        for number, (backward, shared) in enumerate(self.backwards.items(), 1):
            run.objective = backward.objective
            try:
                with self.clock(backward):
                    inputs = (
                        [weight.leaf for weight in run.weights]
                        if backward.wrt == "weights"
                        else [x for x in run.inputs if x.is_floating_point()]
                    )
                    keep = number < len(self.backwards)
                    gradients = run.gradients(backward.objective(run, output), inputs, keep)
            except Exception as error:
                self.failures.update(dict.fromkeys(shared, failure_reason(error)))
                continue
            for signal in shared:
                self._guarded(signal, self.recorders[signal].after_backward, run, gradients)
        run.objective = None

    def _finish(self, run: Run) -> None:
        for signal, recorder in self.recorders.items():
            self._guarded(signal, recorder.finish, run)

    def _guarded(self, signal: Measured, step: Callable[..., None], *args: object) -> None:
        """Do a recorder's step, unless it failed before; its failure is its own."""
        if signal in self.failures:
            return
        try:
            with self.clock(recorder_of(signal)):
                step(*args)
        except ForwardAgain:
            raise
        except Exception as error:
            self.failures[signal] = failure_reason(error)

    def _timed(self, rules: Mapping[object, Callable[..., object]], part: type) -> dict[object, Callable[..., object]]:
        """Rules whose time counts as their recorder's, but not that of the function which they stand for."""

        def timed(rule: Callable[..., object]) -> Callable[..., object]:
            timed_rule = self.clock.timed(part, rule)

            def call(function: Callable[..., object], *args: object, **kwargs: object) -> object:
                return timed_rule(self.clock.timed("forward", function), *args, **kwargs)

            return call

        return {function: timed(rule) for function, rule in rules.items()}


def _unpacked(nothing: None) -> torch.Tensor:
    raise RuntimeError("the activations of this pass are not kept, for nothing was meant to go back through them")


def _remembered(streams: Streams) -> Streams:
    """The same stream each time it is asked for, so that a repeat goes on where the last one ended."""
    known: dict[str, torch.Generator] = {}

    def stream(name: str) -> torch.Generator:
        if name not in known:
            known[name] = streams(name)
        return known[name]

    return stream
