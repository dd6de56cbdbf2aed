"""Score many architectures: skip what is stored, run in processes, write.

Architectures that amount to the same network share one computation, an interrupted run goes on where it stopped, and
neither the order nor the number of workers changes a number.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from trainless.aggregation import NAMED_AGGREGATES, Aggregate, load_aggregate, named_aggregate
from trainless.data import Batch, ImageDataset, load_data
from trainless.errors import DataError, InputError, StoreError, UnknownNameError
from trainless.evaluation import DTYPES, EquivalenceClass, ScoringSettings, score_class
from trainless.hardware import usable_device
from trainless.initialization import INITIALIZATIONS
from trainless.precision import AUTO, PRECISIONS, check_precision
from trainless.preparation import distinct_images
from trainless.proxies import PROXIES, Proxy
from trainless.proxies import proxies as look_up
from trainless.search_spaces import SEARCH_SPACES, search_space
from trainless.search_spaces.base import SearchSpace
from trainless.specs import options_of
from trainless.store import Run, Store
from trainless.types import Architecture, Score
from trainless.workers import (
    LocalWorkers,
    Workers,
    WorkersChoice,
    chosen_workers,
    limited_workers,
    run_in_workers,
    worker_pool,
)

__all__ = ["Scorer", "check_run", "parts_of", "space_of"]

_LEAST_SPEED = 1.05  # of bfloat16 beside float32, for which digits are given up
_TURNS = 2  # of what is measured for that
_WRITE_SECONDS = 1.0  # at most so much finished work is lost when the process is killed
_SELDOM = 0.2  # seconds between two networks from which on each is stored by itself


class Scorer:
    """Scores architectures of a search space on a batch of images, in parallel, with or without a store.

    Args:
        space: a search space or its name.
        proxies: names, ``"all"``, or `Proxy` objects; also the names of aggregations, of which the parts are scored and
            stored, and which are relative to the architectures that are scored together.
        data: what `trainless.data.load_data` takes: ``"digits"``, a folder, a file, or an `ImageDataset`.
        seed: decides the batch, the weights and all noise.
        batch_size: number of images.
        balanced: as equal a number of images a class as possible; False draws from all images alike.
        initialization: a name of `trainless.initialization.INITIALIZATIONS`.
        dtype: ``"float32"`` or ``"float64"``.
        precision: of convolutions and linear maps: ``"float32"`` leaves them in the dtype; ``"bfloat16"`` is for all
            proxies that may be measured so (`Proxy.bfloat16`), ``"bfloat16-noise"`` for those of them that are shown
            noise, so that no batch is seen in both; ``"auto"`` takes the one in which the store holds this run, or the
            fastest, by a measurement, and a warning says which.
        device: a PyTorch device. Never tried on a GPU by its makers so far. One process is used there unless there
            are to be more workers, which share it.
        workers: number of worker processes of one thread each; 0 scores in this process; None is one a core, and none
            for a handful of networks; or `trainless.workers.Workers`, such as those of a cluster.
        timeout: most seconds for an architecture, or for those together that amount to the same network, in a worker;
            one that takes more has failed. None for no limit.
        memory_limit: most bytes of a worker process; a network that needs more has failed. None for no limit.
        repeats: over how many initialisations each score is averaged.
        store: a `Store`, a path or a URL; what it holds is not computed again and what is computed goes there.
        reference: an aggregation that `fitted` gave, or the file in which it was saved: architectures get its score
            relative to the sample that it was fitted to, each by itself. Its parts have to be scored alike.

    Attributes:
        proxies: what is scored.
        aggregates: what is made of these scores, by name.
        columns: of tables of scores: what was asked for, in order.
        batch: the images that networks are scored on, without copies and blank images.
        note: one sentence on the images that were left out of the batch, or empty.

    Raises:
        InputError: an argument cannot be used; the message says which, what was expected and what to do.

    Example:
        >>> scorer = Scorer("nasbench201", proxies="params, synflow:log", data="digits", workers=0)
        >>> table = scorer.score(["|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"])
        >>> table["params"].tolist()
        [73018.0]
    """

    def __init__(
        self,
        space: str | SearchSpace = "nasbench201",
        proxies: str | Iterable[str | Proxy] = "all",
        data: str | os.PathLike[str] | ImageDataset = "digits",
        *,
        seed: int = 0,
        batch_size: int = 64,
        balanced: bool = True,
        initialization: str = "kaiming_normal_fan_out",
        dtype: str = "float32",
        precision: str = "float32",
        device: str = "cpu",
        workers: WorkersChoice = None,
        timeout: float | None = None,
        memory_limit: int | None = None,
        repeats: int = 1,
        store: Store | str | Path | None = None,
        reference: Aggregate | str | Path | None = None,
    ) -> None:
        self.space = search_space(space)
        self.columns, self.proxies, self.aggregates = parts_of(proxies)
        self.dataset = load_data(data)
        self.batch: Batch = self.dataset.batch(batch_size, seed, balanced)
        kept, self.note = distinct_images(self.batch.images)
        reads_images = any(not proxy.data_independent for proxy in self.proxies)
        if int(kept.sum()) >= 2:
            if self.note:
                self.batch = Batch(self.batch.images[kept], self.batch.labels[kept], self.batch.task)
        elif reads_images:
            raise DataError(f"{self.note} Fewer than 2 remain: give a larger --batch-size or other images.")
        if not reads_images:
            self.note = ""
        self.workers = limited_workers(workers, timeout, memory_limit)
        _check_options(seed, initialization, dtype, device, workers, repeats)
        check_precision(precision, dtype == "float64", others=(AUTO,))
        self.store = Store(store) if isinstance(store, str | Path) else store
        self.protocol = ScoringSettings(
            self.space, tuple(proxy.name if PROXIES.get(proxy.name) is proxy else proxy for proxy in self.proxies),
            self.batch.images.numpy(), self.batch.labels.numpy(), self.batch.task, seed, initialization, dtype, device,
            repeats, "float32" if precision == AUTO else precision,
        )  # fmt: skip
        if precision == AUTO:
            self.protocol, reason = self._in_best_precision()
            warnings.warn(f"Precision: {self.protocol.precision}, {reason}.", stacklevel=2)
        self.failures: list[Score] = []
        self.costs: pd.Series = pd.Series(dtype=float)
        self._scored = pd.DataFrame()
        if reference is not None:
            self._refer_to(reference if isinstance(reference, Aggregate) else load_aggregate(reference))

    def fitted(self, name: str) -> Aggregate:
        """Fit an aggregation to the architectures that were scored last, as the reference for others.

        Args:
            name: one of `aggregates`.

        Raises:
            UnknownNameError: it was not asked for.
            InputError: nothing was scored, or too few architectures.

        Example:
            >>> networks = ["8:8:8:8:8", "8:16:16:16:8", "16:16:16:24:24"]
            >>> scorer = Scorer("nats_size", "robust", "digits", batch_size=8, workers=0)
            >>> table = scorer.score(networks)
            >>> alone = Scorer("nats_size", "robust", batch_size=8, workers=0, reference=scorer.fitted("robust"))
            >>> alone.score(networks[1:2])["robust"].tolist() == table["robust"].tolist()[1:2]
            True
        """
        if name not in self.aggregates:
            raise UnknownNameError("aggregation", name, self.aggregates)
        if self._scored.empty:
            raise InputError(f"Nothing was scored that '{name}' could refer to: call score with a sample first.")
        mix = copy(self.aggregates[name])
        return mix.fit(self._scored, f"{len(self._scored):,} architectures of {self._origin(mix)}")

    def _origin(self, mix: Aggregate) -> str:
        """How the parts of an aggregation are scored."""
        versions = [f"{name} {self._versions[name]}" for name in mix.proxies if self._versions[name] > 1]
        return f"{self.run}" + (f", versions {', '.join(versions)}" if versions else "")

    def _refer_to(self, reference: Aggregate) -> None:
        """Score one of the aggregations by a reference."""
        name = next((name for name, mix in self.aggregates.items() if mix.is_like(reference)), None)
        if name is None:
            raise InputError(
                f"The reference is one of {reference.name}, which is none of {', '.join(self.aggregates) or 'no'} "
                "aggregations that are asked for: name its own among the proxies."
            )
        origin = reference.origin.partition(" architectures of ")[2]
        if origin != self._origin(reference):
            raise InputError(
                f"The reference of {name} is of {origin or 'an unknown origin'}, and these architectures are scored as "
                f"{self._origin(reference)}: score both alike, or make another reference."
            )
        self.aggregates[name] = reference

    @property
    def run(self) -> Run:
        """The part of a stored score's key that all scores of this scorer share."""
        return self._run_by(self.protocol)

    def _run_by(self, protocol: ScoringSettings) -> Run:
        task = self.batch.task
        rest = {
            **self.space.options,
            "classes": task.classes,
            "batch": len(self.batch.images),
            "initialization": protocol.initialization,
            "dtype": protocol.dtype,
            "repeats": protocol.repeats,
            # Only where it is not what all scores had before it could be chosen.
            **({} if protocol.precision == "float32" else {"precision": protocol.precision}),
        }
        fidelity = ",".join(f"{name}={value}" for name, value in rest.items())
        return Run(self.space.name, f"{task.name}:{self.batch.fingerprint}", protocol.seed, fidelity)

    def _in_best_precision(self) -> tuple[ScoringSettings, str]:
        """The protocol in the precision of what is stored of it, or else in the fastest; and why."""
        protocols: dict[frozenset[str], ScoringSettings] = {}
        for precision in PRECISIONS:
            rounded = frozenset(p.name for p in self.proxies if p.in_precision(precision).pass_spec.bfloat16)
            protocols.setdefault(rounded, replace(self.protocol, precision=precision))
        single, *others = protocols.values()
        if not others:
            return single, "for none of these proxies may be measured in bfloat16"
        runs = self.store.runs() if self.store else []
        known = [protocol for protocol in protocols.values() if self._run_by(protocol) in runs]
        if len(known) == 1:
            return known[0], "in which the store holds scores of this run"
        architecture = self.space.sample(np.random.default_rng(0))
        unit = EquivalenceClass(architecture, ((architecture, frozenset(self._versions)),))
        seconds = _least_seconds([single, *others], unit)
        speed, best = max((seconds[0] / least, number) for number, least in enumerate(seconds[1:]))
        if speed > _LEAST_SPEED:
            return others[best], f"{speed:.2f} times as fast as float32 with these proxies here"
        return single, f"for bfloat16 is {speed:.2f} times as fast with these proxies here"

    def score(
        self, architectures: Iterable[str | Architecture], progress: Callable[[int, int], None] | None = None
    ) -> pd.DataFrame:
        """Score architectures: one row an architecture, one column a proxy; a `note` is given as a warning.

        Args:
            architectures: published strings or `Architecture` values, in any order; duplicates are dropped.
            progress: called with the number of architectures done and that of all.

        Returns:
            A table indexed by the architectures' strings, in the order given. NaN stands for what failed, with the
            reasons in `failures`; mean seconds an architecture and proxy are in `costs`.

        Raises:
            ArchitectureError: a string is no architecture of the space.
            StoreError: the store cannot be read or written.
        """
        if self.note:
            warnings.warn(self.note, stacklevel=2)
        wanted = list(dict.fromkeys(self._parse(architecture) for architecture in architectures))
        stored = self.store.finished(self.run, self._versions) if self.store else {}
        units = self._units(wanted, stored)
        done = len(wanted) - sum(len(unit.members) for unit in units)
        results: list[Score] = []
        if progress:
            progress(done, len(wanted))
        with self._writing() as write:
            for unit, scores in run_in_workers(score_class, self.protocol, units, self._workers(len(units)), _lost):
                results += [score for score in scores if self.store is None or score.status == "failed"]
                write(scores)
                done += len(unit.members)
                if progress:
                    progress(done, len(wanted))
        self.failures = [score for score in results if score.status == "failed"]
        return self._table(wanted, results)

    @contextmanager
    def session(self) -> Iterator[Callable[[Sequence[Architecture]], list[dict[str, Score]]]]:
        """Keep workers, and what is stored, for architectures that come a few at a time, as in a search.

        Gives a function that scores architectures of the space and returns for each its scores by proxy, in the order
        given. What is stored, what the session scored before, and what an equal network got is not computed again;
        each call's new scores are in the store when it returns.

        Example:
            >>> scorer = Scorer("nasbench201", proxies="skipped_layers", workers=0)
            >>> with scorer.session() as score:
            ...     score([scorer.space.make(["skip_connect"] * 6)])[0]["skipped_layers"].value == 10 / 6
            True
        """
        known = self._stored()
        equal: dict[Architecture, dict[str, Score]] = {}
        shared = [proxy.name for proxy in self.proxies if not proxy.as_written]

        def score(architectures: Sequence[Architecture]) -> list[dict[str, Score]]:
            for architecture in architectures:
                own = known.setdefault(str(architecture), {})
                same = equal.setdefault(self.space.canonical(architecture), {})
                copies = [
                    replace(same[name], architecture=str(architecture), spent=0.0)
                    for name in shared if name in same and name not in own
                ]  # fmt: skip
                own.update((copied.proxy, copied) for copied in copies)
                if self.store and copies:
                    self.store.write(self.run, copies, self._versions)
            # Of these alone: what is known may be the whole store, and a search comes here for every few proposals.
            texts = [str(architecture) for architecture in architectures]
            finished = {text: set(known[text]) for text in texts}
            units = self._units(list(dict.fromkeys(architectures)), finished)
            with self._writing() as write:
                for _, scores in run(units):
                    write(scores)
                    for found in scores:
                        known[found.architecture][found.proxy] = found
            for architecture, text in zip(architectures, texts, strict=True):
                usable = {name: known[text][name] for name in shared if known[text][name].status != "failed"}
                equal[self.space.canonical(architecture)].update(usable)
            return [known[text] for text in texts]

        with worker_pool(score_class, self.protocol, self._workers(), _lost) as run:
            yield score

    def _stored(self) -> dict[str, dict[str, Score]]:
        """What the store holds of this run, by architecture and proxy, without what failed."""
        known: dict[str, dict[str, Score]] = {}
        if self.store:
            frame = self._stored_rows(self.store)
            frame = frame[frame["status"] != "failed"]
            names = [field.name for field in fields(Score)]
            for row in frame[names].to_dict(orient="records"):
                unknown = {name: None for name in ("spent", "peak_memory") if math.isnan(row[name])}
                score = Score(**{str(name): value for name, value in row.items()} | unknown)
                known.setdefault(score.architecture, {})[score.proxy] = score
        return known

    def _stored_rows(self, store: Store) -> pd.DataFrame:
        """What a store holds of this run in the versions of these proxies."""
        frame = store.rows(self.run)
        return frame[frame["proxy_version"] == frame["proxy"].map(self._versions)]

    def _parse(self, architecture: str | Architecture) -> Architecture:
        return architecture if isinstance(architecture, Architecture) else self.space.parse(architecture)

    @property
    def _versions(self) -> dict[str, int]:
        return {proxy.name: proxy.version for proxy in self.proxies}

    def _units(self, wanted: Sequence[Architecture], stored: Mapping[str, set[str]]) -> list[EquivalenceClass]:
        names = frozenset(self._versions)
        classes: dict[Architecture, list[tuple[Architecture, frozenset[str]]]] = {}
        for architecture in wanted:
            lacking = names - stored.get(str(architecture), set())
            if lacking:
                classes.setdefault(self.space.canonical(architecture), []).append((architecture, lacking))
        return [EquivalenceClass(representative, tuple(members)) for representative, members in classes.items()]

    def _workers(self, units: float = math.inf) -> Workers:
        if self.workers is None and units < 4:  # starting a process costs as much as scoring a few networks
            return LocalWorkers(0)
        chosen = chosen_workers(self.workers)
        if self.protocol.device == "cpu" or self.workers is not None or not isinstance(chosen, LocalWorkers):
            return chosen
        return replace(chosen, count=1)

    @contextmanager
    def _writing(self) -> Iterator[Callable[[list[Score]], None]]:
        """Give a function that stores scores, about once a second in one transaction, and the rest on leaving.

        Where they come seldom each is stored at once: the next may be long in coming.
        """
        waiting: list[Score] = []
        last = came = time.monotonic()
        pause = 0.0  # between the scores of two networks, on average

        def flush() -> None:
            nonlocal last
            finished = waiting.copy()
            waiting.clear()  # also where it fails: the store was as patient as it is, and is not asked again on leaving
            if self.store and finished:
                try:
                    self.store.write(self.run, finished, self._versions)
                except KeyboardInterrupt:
                    waiting[:0] = finished
                    raise
                except StoreError as error:
                    lost = f"{len(finished)} finished scores could not be written and have to be computed again"
                    raise StoreError(f"{str(error).rstrip('.')}; {lost}.") from error
            last = time.monotonic()

        def write(scores: list[Score]) -> None:
            nonlocal came, pause
            waiting.extend(scores)
            before, came = came, time.monotonic()
            pause = (pause + came - before) / 2
            if pause > _SELDOM or came - last > _WRITE_SECONDS:
                flush()

        try:
            yield write
        finally:
            flush()

    def _table(self, wanted: Sequence[Architecture], results: list[Score]) -> pd.DataFrame:
        index = pd.Index([str(architecture) for architecture in wanted], name="architecture", dtype="str")
        frame = self._stored_rows(self.store) if self.store else pd.DataFrame(map(asdict, results))
        scored = list(self._versions)
        self._scored = pd.DataFrame()
        if frame.empty:
            return pd.DataFrame(np.nan, index=index, columns=self.columns)
        frame = frame[frame["architecture"].isin(index)]
        costs = frame[frame["status"] != "failed"].groupby("proxy")["seconds"].mean().reindex(scored)
        values = frame.pivot(index="architecture", columns="proxy", values="value")
        table: pd.DataFrame = values.reindex(index=index, columns=scored).astype(float)
        self._scored = table[scored]
        for name, mix in self.aggregates.items():
            if mix.reference:
                table[name] = mix.score(table)
            elif mix.is_relative and len(table) == 1:
                table[name] = math.nan
                warnings.warn(
                    f"{name} is relative to the architectures that are scored together, and there is one: score more, "
                    "or give a reference.", stacklevel=3,
                )  # fmt: skip
            else:
                signs = [-1 if part in mix.lower_is_better else 1 for part in mix.proxies]
                table[name] = mix.among(
                    [table[part].to_numpy() * sign for part, sign in zip(mix.proxies, signs, strict=True)]
                )
            costs[name] = costs[list(mix.proxies)].sum(skipna=False)
        self.costs = costs.reindex(self.columns)
        return table[self.columns].rename_axis(columns=None)


def _least_seconds(protocols: Sequence[ScoringSettings], unit: EquivalenceClass) -> list[float]:
    """Measure what scoring takes by each protocol, in turns; infinite where more fails than by the first."""
    # What else the machine does leaves the time of a thread alone, but a GPU's is none of it.
    clock = time.thread_time if protocols[0].device == "cpu" else time.perf_counter
    least = [math.inf] * len(protocols)
    failed: set[str] | None = None
    for _ in range(_TURNS):
        for number, protocol in enumerate(protocols):
            start = clock()
            failures = {score.proxy for score in score_class(protocol, unit) if score.status == "failed"}
            failed = failures if failed is None else failed
            if failures <= failed:
                least[number] = min(least[number], clock() - start)
    return least


def parts_of(names: str | Iterable[str | Proxy]) -> tuple[list[str], list[Proxy], dict[str, Aggregate]]:
    """Tell what has to be scored for proxies and aggregations.

    Args:
        names: a list, or text with commas; ``"all"`` stands for proxies alone.

    Returns:
        The columns that are asked for, the proxies to score, and the aggregations by name.

    Raises:
        UnknownNameError: a name is unknown.
        InputError: nothing is named.

    Example:
        >>> columns, proxies, aggregates = parts_of("hybrid, params")
        >>> columns, [proxy.name for proxy in proxies], aggregates["hybrid"].proxies
        (['hybrid', 'params'], ['logsynflow', 'nwot', 'params'], ('logsynflow', 'nwot'))
    """
    listed = [part.strip() for part in names.split(",") if part.strip()] if isinstance(names, str) else list(names)
    columns: dict[str, None] = {}
    chosen: dict[str, Proxy] = {}
    aggregates: dict[str, Aggregate] = {}
    for part in listed:
        if isinstance(part, str) and part in NAMED_AGGREGATES:
            aggregates[part] = named_aggregate(part)
            chosen.update((proxy.name, proxy) for proxy in look_up(aggregates[part].proxies))
            columns[part] = None
        else:
            found = {proxy.name: proxy for proxy in look_up([part])}
            chosen.update(found)
            columns.update(dict.fromkeys(found))
    if not columns:
        raise InputError(f"No proxy is named in {names!r}: name at least one, or 'all'.")
    return list(columns), list(chosen.values()), aggregates


def space_of(run: Run) -> SearchSpace:
    """Give the search space of stored scores, of the size that they were computed with.

    Raises:
        UnknownNameError: the space is none of `trainless.search_spaces.SEARCH_SPACES`.

    Example:
        >>> space_of(Scorer("nasbench201(channels=4, cells=1)", "params").run).spec
        'nasbench201(channels=4, cells=1)'
    """
    if run.space not in SEARCH_SPACES:
        return search_space(run.space)
    noted = run.protocol if isinstance(run.protocol, Mapping) else {}
    known = options_of(SEARCH_SPACES[run.space])
    return search_space(run.space, **{name: noted[name] for name in known if name in noted})


def _lost(unit: EquivalenceClass, reason: str) -> list[Score]:
    """The record of a class whose worker was lost twice."""
    return [
        Score(str(architecture), name, float("nan"), "failed", reason)
        for architecture, names in unit.members
        for name in sorted(names)
    ]


def check_run(seed: int, workers: WorkersChoice) -> None:
    """Refuse a seed or a number of workers that nothing can be computed with.

    Raises:
        InputError: the seed is negative or has more than 63 bits, or there are fewer than 0 workers.

    Example:
        >>> check_run(-1, None)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The seed is -1, expected a whole number from 0 to 2^63 - 1: give another.
    """
    if not 0 <= seed < 1 << 63:
        raise InputError(f"The seed is {seed}, expected a whole number from 0 to 2^63 - 1: give another.")
    chosen_workers(workers)


def _check_options(
    seed: int, initialization: str, dtype: str, device: str, workers: WorkersChoice, repeats: int
) -> None:  # fmt: skip
    check_run(seed, workers)
    if initialization not in INITIALIZATIONS:
        raise InputError(f"The initialization is '{initialization}', expected one of {', '.join(INITIALIZATIONS)}.")
    if dtype not in DTYPES:
        raise InputError(f"The dtype is '{dtype}', expected one of {', '.join(DTYPES)}.")
    if repeats < 1:
        raise InputError(f"The number of repeats is {repeats}, expected 1 or more.")
    if usable_device(device).type != "cpu" and not isinstance(chosen_workers(workers), LocalWorkers):
        raise InputError(f"The device is {device}, but a cluster scores on CPUs: take cpu, or workers of this machine.")
