"""Workers on a real Ray cluster: three raylets on this machine, the head without a CPU, of which nodes are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_functions

from trainless import Scorer, Search, Store
from trainless.data import load_data, split
from trainless.errors import InputError, ScoringError
from trainless.estimators import Setting, estimator
from trainless.search import RunOff
from trainless.search_spaces import search_space
from trainless.types import Architecture
from trainless.workers import RayWorkers, limited_workers, run_in_workers, worker_pool
from trainless.workers import ray as workers_ray

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

SPACE = search_space("nasbench201", channels=4, cells=1)
NODE: dict[str, Any] = {"num_cpus": 1, "node_ip_address": "127.0.0.2"}  # Ray takes 127.0.0.1 for another address


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a CPU and two nodes of one CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # what else runs here may need the memory
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(**NODE)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def workers(cluster: Any) -> RayWorkers:
    return RayWorkers(cluster.address)


def lost(unit: int, reason: str) -> str:
    return f"{unit}: {reason}"


def sample(number: int) -> list[Architecture]:
    rng = np.random.default_rng(number)
    return [SPACE.sample(rng) for _ in range(number)]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )


class TestPool:
    def test_results_come_from_both_nodes(self, workers: RayWorkers) -> None:
        with worker_pool(worker_functions.add, 10, workers, lost) as compute:
            assert dict(compute([1, 2, 3])) == {1: 11, 2: 12, 3: 13}
            assert dict(compute(range(100))) == {unit: unit + 10 for unit in range(100)}
            assert list(compute([])) == []
        assert workers.count == 2
        assert RayWorkers(workers.address, most=1).count == 1

    def test_units_that_take_no_time_go_in_chunks(self, workers: RayWorkers) -> None:
        tasks = Counter(task for _, task in run_in_workers(worker_functions.task, "", range(4000), workers, lost))
        assert sum(tasks.values()) == 4000
        assert len(tasks) < 100

    def test_killed_worker_costs_no_result(self, workers: RayWorkers, tmp_path: Path) -> None:
        results = dict(run_in_workers(worker_functions.die_once, str(tmp_path), [1, 2, 3, 4], workers, lost))
        assert results == {1: 1, 2: 2, 3: 3, 4: 4}
        assert (tmp_path / "died").exists()

    def test_unit_that_kills_its_worker_twice_is_given_up(self, workers: RayWorkers) -> None:
        results = dict(run_in_workers(worker_functions.die_always, "", [1, 2, 3, 4], workers, lost))
        assert results.pop(2).startswith("2: its worker or node died 2 times: The worker died unexpectedly")
        assert results == {1: 1, 3: 3, 4: 4}

    def test_unit_that_takes_too_long_is_given_up(self, workers: RayWorkers) -> None:
        limited = limited_workers(workers, timeout=2.0)
        results = dict(run_in_workers(worker_functions.hang, "", [1, 2, 3, 4], limited, lost))
        assert results.pop(2).startswith("2: its worker or node died 2 times, or took longer than the limit of 2 s: ")
        assert results == {1: 1, 3: 3, 4: 4}
        with pytest.raises(InputError, match="leave the limit out on a cluster"):
            limited_workers(workers, memory_limit=1 << 30)

    def test_workers_that_never_answer_end_the_run(self, workers: RayWorkers) -> None:
        alone = RayWorkers(workers.address, most=1)
        with pytest.raises(ScoringError, match="Workers of the cluster die before they answer"):
            list(run_in_workers(worker_functions.die_at_once, "", range(9), alone, lost))

    def test_error_in_the_function_is_told(self, workers: RayWorkers) -> None:
        with pytest.raises(ScoringError, match="unit 1 is odd"):
            list(run_in_workers(worker_functions.fail, "", [1], workers, lost))

    def test_what_is_not_installed_on_a_node_is_told(self, workers: RayWorkers, tmp_path: Path) -> None:
        (tmp_path / "only_here.py").write_text("def add(shared, unit):\n    return unit\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            import only_here  # type: ignore[import-not-found]

            patch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
            with pytest.raises(ScoringError, match=r"cannot do the work \(.*only_here.*\): install"):
                list(run_in_workers(only_here.add, "", [1], workers, lost))

    def test_node_with_another_version_is_refused(self, workers: RayWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers_ray, "_versions", lambda: {"trainless": "9.9", "torch": "1.0"})
        with pytest.raises(ScoringError, match=r"has trainless 0\S+, expected 9\.9 as here, for numbers could differ"):
            list(run_in_workers(worker_functions.add, 1, [1], workers, lost))


class TestEqualToLocal:
    def test_scores_by_all_proxies(self, workers: RayWorkers, tmp_path: Path) -> None:
        local = Scorer(SPACE, "all", batch_size=8, workers=0).score(sample(6))
        store = Store(tmp_path / "scores.db")
        scorer = Scorer(SPACE, "all", batch_size=8, workers=workers, store=store)
        assert local.equals(scorer.score(sample(6)))
        rows = store.rows(scorer.run)
        assert not rows.duplicated(["architecture", "proxy"]).any()
        assert len(rows) == local.size

    @pytest.mark.parametrize("spec", ["one-shot(epochs=1)", "morphed(epochs=1, first=1)"])
    def test_estimates_with_weights_that_travel(self, workers: RayWorkers, spec: str) -> None:
        images = split(load_data("digits"), 0.1)[1]
        here, there = (
            estimator(spec).estimate(sample(3), Setting(SPACE, images, workers=where)) for where in (0, workers)
        )
        assert [estimate.value for estimate in here] == [estimate.value for estimate in there]
        assert not any(estimate.reason for estimate in there)

    def test_search_with_its_run_off(self, workers: RayWorkers) -> None:
        def found(where: RayWorkers | int) -> Any:
            search = Search(
                SPACE, "evolution", "nwot", budget=12, batch=4, batch_size=8, workers=where,
                run_off=RunOff(2, epochs=1, images=100),
            )  # fmt: skip
            return search.run()

        here, there = found(0), found(workers)
        assert here.evaluations.drop(columns="seconds").equals(there.evaluations.drop(columns="seconds"))
        assert here.best == there.best
        columns = ["architecture", "epochs", "valid_accuracy", "reason"]
        assert here.run_off[columns].equals(there.run_off[columns])

    def test_proxy_that_the_script_defines(self, workers: RayWorkers, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import sys\n"
            "from trainless import PassSpec, Proxy, Scorer, Signal\n"
            "from trainless.workers import RayWorkers\n"
            "def layers(signals):\n"
            "    return float(len(signals.weight_gradients))\n"
            "proxy = Proxy('layers', layers, PassSpec(), frozenset({Signal.WEIGHT_GRADIENTS}),\n"
            "              data_independent=False, paper='none', summary='layers')\n"
            "for workers in (0, RayWorkers(sys.argv[1])):\n"
            "    scorer = Scorer('nasbench201(channels=4, cells=1)', [proxy], batch_size=8, workers=workers)\n"
            "    print(scorer.score([scorer.space[9]]).iloc[0, 0])\n"
        )
        done = run_python(str(script), workers.address or "")
        here, there = done.stdout.split()
        assert here == there != "nan", done.stderr


class TestCommandLine:
    def test_scores_are_those_of_the_local_run(self, workers: RayWorkers, tmp_path: Path) -> None:
        (tmp_path / "cells.txt").write_text("\n".join(map(str, sample(6))))
        done = run_python(
            "-m", "trainless.cli", "score", "--data", "digits", "--batch-size", "8", "--space", SPACE.spec,
            "--proxies", "params,snip,nwot", "--architectures", str(tmp_path / "cells.txt"), "--json",
            "--store", str(tmp_path / "scores.db"), "--backend", "ray", "--address", workers.address or "",
        )  # fmt: skip
        found = {row.pop("architecture"): row for row in json.loads(done.stdout)["scores"]}
        table = Scorer(SPACE, "params, snip, nwot", batch_size=8, workers=0).score(sample(6))
        assert found == table.to_dict(orient="index")
        assert done.stderr == ""


class TestDeath:
    """The cluster loses nodes here: this comes last."""

    def test_killed_node_costs_only_what_it_computed(self, cluster: Any, workers: RayWorkers, tmp_path: Path) -> None:
        node = cluster.add_node(**NODE)
        units = list(range(60))
        results, before = Counter[int](), set[int]()
        for unit, _ in run_in_workers(worker_functions.slowly, str(tmp_path), units, workers, lost):
            results[unit] += 1
            if sum(results.values()) == 20:
                before = set(results)
                cluster.remove_node(node, allow_graceful=False)
        assert results == Counter(units)
        computed = {unit: (tmp_path / str(unit)).read_text().split() for unit in units}
        repeated = {unit for unit in units if len(computed[unit]) > 1}
        assert not repeated & before
        assert len({computed[unit][0] for unit in repeated}) <= 1, "all were begun on the node that was killed"

    def test_table_is_whole_where_a_node_dies(self, cluster: Any, workers: RayWorkers, tmp_path: Path) -> None:
        architectures = sample(16)
        node = cluster.add_node(**NODE)
        store = Store(tmp_path / "scores.db")
        scorer = Scorer(SPACE, "params, snip, nwot", batch_size=8, workers=workers, store=store)

        def kill(done: int, _: int) -> None:
            if done >= 4 and node in cluster.worker_nodes:
                cluster.remove_node(node, allow_graceful=False)

        table = scorer.score(architectures, progress=kill)
        assert node not in cluster.worker_nodes
        assert table.equals(Scorer(SPACE, "params, snip, nwot", batch_size=8, workers=0).score(architectures))
        assert not scorer.failures
        rows = store.rows(scorer.run)
        assert len(rows) == table.size
        assert not rows.duplicated(["architecture", "proxy"]).any()

    def test_cluster_without_nodes_is_told(self, cluster: Any, workers: RayWorkers, tmp_path: Path) -> None:
        impatient = RayWorkers(workers.address, patience=1)
        results = run_in_workers(worker_functions.slowly, str(tmp_path), range(200), impatient, lost)
        next(results)
        for node in list(cluster.worker_nodes):
            cluster.remove_node(node, allow_graceful=False)
        with pytest.raises(ScoringError, match="no node with a CPU for 1 s: start nodes"):
            list(results)
