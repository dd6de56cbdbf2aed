"""Score one network, or one class of equal architectures: what a single process does.

An architecture's scores depend on the protocol, the seed and the network alone: its weights are drawn from a stream
named after it. So the order, the company and what else is asked for change nothing.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from trainless.errors import InputError, NetworkError, TrainlessError
from trainless.initialization import initialize
from trainless.passes import (
    BLOCK_PATHS,
    Measured,
    PassResult,
    Signal,
    Signals,
    failure_reason,
    plan_passes,
    run_passes,
    signal_name,
)
from trainless.precision import check_precision
from trainless.preparation import PreparedBatch, prepare_batch, prepare_network
from trainless.proxies import Proxy, proxies
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, preserve_rng_state
from trainless.types import Architecture, Score, Task

__all__ = [
    "DTYPES",
    "EquivalenceClass",
    "Scores",
    "ScoringSettings",
    "build_network",
    "plan_passes",
    "score",
    "score_class",
]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Scores(dict[str, float]):
    """Raw scores by proxy, as `score` gives them.

    Attributes:
        reasons: for each proxy whose score is infinite or NaN the reason.
        notes: what else there is to know, such as images that were left out.

    Example:
        >>> Scores({"nwot": 3.5})
        {'nwot': 3.5}
    """

    def __init__(self, scores: Mapping[str, float], reasons: Mapping[str, str] = {}, notes: Iterable[str] = ()) -> None:
        super().__init__(scores)
        self.reasons = dict(reasons)
        self.notes = tuple(notes)


def score(
    network: torch.nn.Module,
    images: Any,
    labels: Any = None,
    *,
    proxies: str | Iterable[str | Proxy] = "all",
    seed: int = 0,
    dtype: torch.dtype | None = None,
    precision: str = "float32",
    output: str | int | None = None,
) -> Scores:
    """Compute zero-cost proxies of one network, which is left exactly as it was.

    The numbers do not depend on where this is called: within ``no_grad``, ``inference_mode``, ``autocast`` or another
    default dtype they are the same. Data-parallel and compiled wrappers are looked through. Images that are copies of
    another or blank are left out, with a warning.

    Args:
        network: any module that maps the images to one tensor of shape ``(images, classes)``; scored with its present
            weights, in train mode, on the images' device. One on the meta device can only be counted.
        images: normalised images, shape ``(images, channels, height, width)``, at least two; a tuple of tensors with a
            row an image each, for a network that takes several inputs.
        labels: class of each image as a whole number; needed by proxies of the loss and by epe_nas.
        proxies: names, ``"all"``, or `Proxy` objects. ``"all"`` leaves out what only an architecture of a search space
            has, and without labels what needs them.
        seed: seed of the noise that some proxies put in.
        dtype: precision; ``torch.float64`` for exact work, None for the network's own.
        precision: one of `trainless.precision.PRECISIONS`: ``"bfloat16"`` has convolutions and linear maps in that for
            proxies whose order of networks stays the same.
        output: key, attribute or index of the class scores, for a network that returns several things.

    Returns:
        For each proxy its raw number. One that is infinite or NaN, or cannot be computed on this network, has its
        reason in `Scores.reasons`.

    Raises:
        UnknownNameError: a proxy is unknown.
        InputError: the precision is unknown, or does not go with the dtype.
        NetworkError: the network or the batch cannot be scored at all; the message says why.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> scores = score(network, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), proxies="params, flops, zen")
        >>> scores
        {'params': 10.0, 'flops': 8.0, 'zen': nan}
        >>> scores.reasons
        {'zen': 'The network has no global average pooling: Zen reads the feature map before it.'}
    """
    _refuse_aggregates(proxies)
    batch, ready = prepare_batch(images, labels), prepare_network(network, output)
    own = dtype or next((parameter.dtype for parameter in ready.parameters()), None)
    check_precision(precision, own == torch.float64)
    chosen = [proxy.in_precision(precision) for proxy in _applicable(proxies, batch.labels, ready)]
    if batch.note and any(not proxy.data_independent for proxy in chosen):
        warnings.warn(batch.note, stacklevel=2)
    found = _measured(ready, batch, chosen, seed, dtype)
    reasons = {name: reason for name, (_, reason) in found.items() if reason}
    return Scores({name: value for name, (value, _) in found.items()}, reasons, [batch.note] if batch.note else [])


def _refuse_aggregates(names: str | Iterable[str | Proxy]) -> None:
    """Refuse aggregations, which say nothing of one network alone."""
    from trainless.aggregation import NAMED_AGGREGATES, named_aggregate  # pandas, which no worker needs

    listed = names.split(",") if isinstance(names, str) else names
    for name in listed:
        if isinstance(name, str) and name.strip() in NAMED_AGGREGATES:
            raise InputError(
                f"'{name.strip()}' joins the scores of several networks, and one alone has none: name its parts, "
                f"{', '.join(named_aggregate(name.strip()).proxies)}."
            )


def _measured(
    network: torch.nn.Module, batch: PreparedBatch, chosen: Sequence[Proxy], seed: int, dtype: torch.dtype | None
) -> dict[str, tuple[float, str]]:
    """Each proxy's value, with the reason where it is not finite.

    Raises:
        NetworkError: nothing could be measured, or the network does not run on the batch.
    """
    inputs, labels = batch.inputs, batch.labels
    meta = any(parameter.is_meta for parameter in network.parameters())
    if meta:
        inputs, labels = tuple(tensor.to("meta") for tensor in inputs), None
    found = {proxy.name: (math.nan, _unmeasurable(proxy, batch, meta)) for proxy in chosen}
    measurable = [proxy for proxy in chosen if not found[proxy.name][1]]
    results = run_passes(network, inputs, labels, plan_passes(measurable), seed=seed, dtype=dtype)
    failed = set()
    for proxy in measurable:
        result, size = results[proxy.pass_spec], proxy.pass_spec.image_size
        failure = result.failure_of(proxy.signals)
        if failure or result.signals is None:
            failed.add(proxy.name)
            found[proxy.name] = math.nan, f"on images of {size} x {size} pixels: {failure}" if size else failure
        else:
            found[proxy.name] = proxy.compute(result.signals)
    ran = [proxy for proxy in measurable if proxy.pass_spec.input not in ("architecture", "none")]
    broken = any(proxy.pass_spec.input in ("batch", "halves") for proxy in ran) and all(
        proxy.name in failed for proxy in ran
    )
    if broken or len(failed) == len(measurable):
        raise NetworkError(f"The network cannot be scored: {next(reason for _, reason in found.values() if reason)}")
    return found


def _unmeasurable(proxy: Proxy, batch: PreparedBatch, meta: bool) -> str:
    """Why a proxy cannot be measured, as far as is known before anything runs; empty where it may be."""
    if meta and proxy.pass_spec.input != "architecture":
        return "the network is on the meta device, where its weights have no values"
    return batch.defect if proxy.pass_spec.input in ("batch", "halves") else ""


def _applicable(
    names: str | Iterable[str | Proxy], labels: torch.Tensor | None, network: torch.nn.Module
) -> list[Proxy]:
    """The proxies asked for; for ``"all"`` those that a bare network and this batch can have."""
    chosen = proxies(names)
    if not isinstance(names, str) or names.strip() != "all":
        return chosen
    absent = {Signal.SKIP_SPANS} | (
        set() if hasattr(network, BLOCK_PATHS) else {Signal.FEATURE_SPECTRA, Signal.BLOCK_GAINS}
    )
    chosen = [proxy for proxy in chosen if not proxy.signals & absent]
    return chosen if labels is not None else [proxy for proxy in chosen if proxy.data_independent]


@dataclass(frozen=True)
class ScoringSettings:
    """All that decides a score but the architecture; plain data, so that a worker process can be given it.

    Args:
        space: the search space.
        proxies: names of built-in proxies, or objects.
        images: the batch, normalised, float32, shape ``(images, channels, height, width)``.
        labels: class of each image.
        task: what networks are built for.
        seed: the seed of weights and noise.
        initialization: a name of `trainless.initialization.INITIALIZATIONS`.
        dtype: ``"float32"`` or ``"float64"``.
        device: a PyTorch device such as ``"cpu"`` or ``"cuda"``.
        repeats: over how many initialisations a score is averaged.
        precision: of convolutions and linear maps: one of `trainless.precision.PRECISIONS`.
    """

    space: SearchSpace
    proxies: tuple[str | Proxy, ...]
    images: np.ndarray
    labels: np.ndarray
    task: Task
    seed: int = 0
    initialization: str = "kaiming_normal_fan_out"
    dtype: str = "float32"
    device: str = "cpu"
    repeats: int = 1
    precision: str = "float32"


@dataclass(frozen=True)
class EquivalenceClass:
    """Architectures that amount to the same network, each with the proxies it still lacks.

    Args:
        representative: the one that is built for what they share.
        members: each architecture with the names of its proxies.
    """

    representative: Architecture
    members: tuple[tuple[Architecture, frozenset[str]], ...]


def score_class(protocol: ScoringSettings, unit: EquivalenceClass) -> list[Score]:
    """Compute what the architectures of one class lack; what is the same for all of them once.

    A failure is recorded as a score with its reason. Nothing global is changed.
    """
    with _one_thread(), preserve_rng_state():
        return _score_class(protocol, unit)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, so that sums are added up in the same order wherever a network is scored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _score_class(protocol: ScoringSettings, unit: EquivalenceClass) -> list[Score]:
    chosen = [proxy.in_precision(protocol.precision) for proxy in proxies(protocol.proxies)]
    lacking = frozenset().union(*(names for _, names in unit.members))
    shared = [proxy for proxy in chosen if proxy.name in lacking and not proxy.as_written]
    once = _score_architecture(protocol, unit.representative, shared)
    scores = []
    for architecture, names in unit.members:
        own = _score_architecture(
            protocol, architecture, [proxy for proxy in chosen if proxy.as_written and proxy.name in names]
        )
        for score in (*once, *own):
            if score.proxy in names:
                share = len(unit.members) if score in once else 1
                scores.append(_for_member(score, str(architecture), share))
    return scores


def _for_member(score: Score, architecture: str, share: int) -> Score:
    spent = None if score.spent is None else score.spent / share
    return replace(score, architecture=architecture, spent=spent, peak_memory=_peak_memory())


def _score_architecture(protocol: ScoringSettings, architecture: Architecture, chosen: Sequence[Proxy]) -> list[Score]:
    counted = [proxy for proxy in chosen if proxy.signals <= _CLOSED_FORMS.keys()]
    scores = [_count(protocol, architecture, proxy) for proxy in counted]
    for thin in (False, True):
        run = [proxy for proxy in chosen if proxy not in counted and proxy.pass_spec.thin == thin]
        if run:
            sized = _thinned(protocol, run) if thin else protocol
            repeats = [_run(sized, architecture, run, repeat) for repeat in range(protocol.repeats)]
            scores += [_mean(values) for values in zip(*repeats, strict=True)]
    return scores


def _thinned(protocol: ScoringSettings, run: Sequence[Proxy]) -> ScoringSettings:
    """The same with one colour channel and a network as thin as the space allows."""
    task, size = replace(protocol.task, channels=1), max(proxy.pass_spec.image_size for proxy in run)
    if protocol.space.fixes_size and size:
        task = replace(task, height=size, width=size)
    return replace(protocol, space=protocol.space.thin(), task=task, images=protocol.images[:, :1])


# What a search space knows in closed form of an architecture as it is written.
_CLOSED_FORMS: Mapping[Measured, Callable[[SearchSpace, Architecture, Task], Any]] = {
    Signal.PARAMETERS: lambda space, architecture, task: space.parameters(architecture, task),
    Signal.TRAINABLE_PARAMETERS: lambda space, architecture, task: space.parameters(architecture, task),
    Signal.MULTIPLY_ADDS: lambda space, architecture, task: space.flops(architecture, task),
    Signal.SKIP_SPANS: lambda space, architecture, task: space.skip_spans(architecture),
}


def _count(protocol: ScoringSettings, architecture: Architecture, proxy: Proxy) -> Score:
    """A proxy for which no network is built."""
    start = time.perf_counter()
    measured = {signal_name(signal): _CLOSED_FORMS[signal](protocol.space, architecture, protocol.task)
                for signal in proxy.signals}  # fmt: skip
    score = _computed(proxy, Signals(**measured))
    seconds = time.perf_counter() - start
    return replace(score, seconds=seconds, spent=seconds)


def _run(protocol: ScoringSettings, architecture: Architecture, chosen: Sequence[Proxy], repeat: int) -> list[Score]:
    start = time.perf_counter()
    seed = protocol.seed if repeat == 0 else derive_seed(protocol.seed, "repeat", repeat)
    try:
        # Moved once, where all passes copy it from; drawn on the processor, so that a GPU changes no weight.
        network = build_network(protocol, architecture, seed).to(protocol.device)
        images, labels = (_moved(array, protocol.device) for array in (protocol.images, protocol.labels))
        building = time.perf_counter() - start
        results = run_passes(
            network, images, labels, plan_passes(chosen), seed=derive_seed(seed, str(architecture)),
            dtype=DTYPES[protocol.dtype],
        )  # fmt: skip
    except (RuntimeError, ValueError, TypeError, MemoryError, TrainlessError) as error:
        return [_failed(proxy, failure_reason(error)) for proxy in chosen]
    scores = [_evaluated(proxy, results[proxy.pass_spec], building) for proxy in chosen]
    return _with_shares(scores, building + sum(result.seconds for result in results.values()))


def _moved(array: np.ndarray, device: str) -> torch.Tensor:
    """An array on a device: to a GPU from pinned memory, so that nothing waits for it."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _with_shares(scores: Sequence[Score], spent: float) -> list[Score]:
    """Share out what was spent on all scores, in proportion to what each would have cost alone."""
    alone = sum(score.seconds for score in scores) or 1.0
    return [replace(score, spent=spent * score.seconds / alone) for score in scores]


def build_network(protocol: ScoringSettings, architecture: Architecture, seed: int) -> torch.nn.Module:
    """Build an architecture's network with weights from the stream named after it, under the seed.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space, none = search_space("nasbench201", channels=4, cells=1), np.zeros(0)
        >>> protocol = ScoringSettings(space, ("params",), none, none, Task("toy", classes=2, height=8, width=8))
        >>> a, b = (build_network(protocol, space[0], seed=0) for _ in range(2))
        >>> bool((a.head.weight == b.head.weight).all())
        True
    """
    # The first draw, by the modules themselves, is thrown away.
    network = protocol.space.build(architecture, protocol.task)
    generator = torch.Generator().manual_seed(derive_seed(seed, "weights", str(architecture)))
    initialize(network, protocol.initialization, generator)
    protocol.space.start(network, architecture)
    return network


def _evaluated(proxy: Proxy, result: PassResult, building: float) -> Score:
    failure = result.failure_of(proxy.signals)
    if failure or result.signals is None:
        return _failed(proxy, failure)
    start = time.perf_counter()
    score = _computed(proxy, result.signals)
    seconds = building + result.seconds_of(proxy.signals) + time.perf_counter() - start
    return replace(score, seconds=seconds)


def _computed(proxy: Proxy, signals: Signals) -> Score:
    try:
        value, reason = proxy.compute(signals)
    except Exception as error:  # a formula may be the user's own
        return _failed(proxy, failure_reason(error))
    return Score("", proxy.name, value, "not finite" if reason else "ok", reason)


def _failed(proxy: Proxy, reason: str) -> Score:
    return Score("", proxy.name, float("nan"), "failed", reason)


def _mean(scores: Sequence[Score]) -> Score:
    """The mean over initialisations; one that failed or is not finite decides."""
    worst = next((s for s in scores if s.status == "failed"), None) or next((s for s in scores if s.reason), None)
    seconds, spent = sum(score.seconds for score in scores), sum(score.spent or 0.0 for score in scores)
    decisive = worst or scores[0]
    if len(scores) > 1 and not worst:
        decisive = replace(decisive, value=sum(score.value for score in scores) / len(scores))
    return replace(decisive, seconds=seconds, spent=spent)


def _peak_memory() -> float | None:
    """Highest resident memory of this process so far, in MiB, where the system tells."""
    try:
        # What getrusage tells on Linux includes the process that this one was started from.
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((float(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:")), None)
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (1 << 20 if sys.platform == "darwin" else 1 << 10)
