"""Optuna's samplers as strategies: TPE, Gaussian processes, NSGA-II; and searches written for optuna-dashboard."""

from __future__ import annotations

import uuid
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.store.addresses import without_secrets
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.strategies.genotype_codes import GenotypeCodes
from trainless.types import Architecture

if TYPE_CHECKING:
    import optuna

__all__ = ["GP", "NSGA2", "TPE", "OptunaStrategy", "check_study", "write_study"]

_MARK = "trainless"  # user attribute of the studies that may be written anew
_NO_VALUE = "it broke a limit, could not be evaluated or got no finite value"
_DRAFTS = 500  # trials of earlier asks, which no sampler reads, before the study is made anew without them


class OptunaStrategy(Strategy):
    """A sampler of Optuna over the choices of a genotype; what it proposed before is mutated.

    The study in memory holds what was told. An ask makes a sampler with a seed of the strategy's own generator and
    opens a trial for each draw, so that draws of one ask know of each other, and closes them as failed, which no
    sampler reads. If a known architecture is worth something else now, the study is made anew.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: number of values in each result.
        startup: architectures with a value or without one that are drawn at random before the sampler begins.

    Raises:
        InputError: startup is below 1.
    """

    batch = 2
    several_objectives = True

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        objectives: int = 1,
        startup: int = 10,
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        if startup < 1:
            raise InputError(f"The startup is {startup} architectures at random, expected at least 1.")
        self.startup = startup
        self._codes, self._distributions = GenotypeCodes(space), _distributions(space)
        self._relative = {
            name: distribution for name, distribution in self._distributions.items() if not distribution.single()
        }
        self._results: dict[Architecture, tuple[float, ...]] = {}
        self._study: optuna.Study | None = None
        self._complete = self._drafts = 0

    @abstractmethod
    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Make the sampler with this seed."""

    def _attributes(self) -> dict[str, Any]:
        """What the sampler itself would have noted at the next trial with values."""
        return {}

    # What is asked for.

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose what the sampler draws; where it draws a known one twice, a mutation of that."""
        found: list[Architecture] = []
        with self._drawing() as draw:
            while len(found) < n:
                architecture = draw()
                if architecture in self.seen or architecture in found:
                    architecture = draw()
                new = self._fresh(1, partial(_same, architecture), found, walk=True)
                if not new:
                    break
                found += new
        return [Proposal(architecture) for architecture in found]

    @contextmanager
    def _drawing(self) -> Iterator[Callable[[], Architecture]]:
        from optuna.trial import TrialState

        open_trials: list[optuna.Trial] = []
        with quiet():
            study = self._current()
            study.sampler = self._sampler(int(self.rng.integers(2**32)))
            # The samplers would find out, slowly, from all trials what is known here.
            study.sampler.infer_relative_search_space = lambda study, trial: self._relative  # type: ignore[method-assign]
            try:
                yield lambda: self._draw(study, open_trials)
            finally:
                for trial in open_trials:
                    study.tell(trial, state=TrialState.FAIL)
                self._drafts += len(open_trials)

    def _draw(self, study: optuna.Study, open_trials: list[optuna.Trial]) -> Architecture:
        trial = study.ask(self._distributions)
        open_trials.append(trial)
        params = trial.params
        return self.space.nearest([params[name] for name in self._distributions])

    def _current(self) -> optuna.Study:
        import optuna

        if self._study is None or self._drafts > _DRAFTS:
            self._study = optuna.create_study(directions=["maximize"] * self.objectives)
            self._complete = self._drafts = 0
            for architecture, values in self._results.items():
                self._add(self._study, Result(architecture, values))
        return self._study

    def _add(self, study: optuna.Study, result: Result) -> None:
        study.add_trial(_trial(self._distributions, result, self._attributes()))
        self._complete += bool(result.values)

    # What is learned.

    def tell(self, results: Iterable[Result]) -> None:
        """Learn, and make the study anew before the next ask where values of known architectures changed."""
        for result in results:
            super().tell([result])
            known = self._results.get(result.architecture)
            self._results[result.architecture] = result.values
            if known is not None and known != result.values:
                self._study = None
            elif known is None and self._study is not None:
                self._add(self._study, result)


class TPE(OptunaStrategy):
    """Tree-structured Parzen estimators: the ratio of the density of good architectures to that of the others.

    Architectures without a value count as worse than all others, so that it learns to avoid them.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; Watanabe, Tree-Structured Parzen
    Estimator, 2023. Optuna's `TPESampler`, multivariate where there is one objective.

    Args: as for `OptunaStrategy`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(TPE(search_space("nasbench201"), startup=12).ask(3))
        3
    """

    name = "tpe"

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup)


class GP(OptunaStrategy):
    """A Gaussian process over the choices, whose expected improvement is maximised; slow, some 0.3 s an architecture.

    Architectures without a value teach it nothing.

    Source: Optuna's `GPSampler`: Matérn kernel with a length scale for each choice, expected improvement in logarithms
    (Ament et al., NeurIPS 2023), expected hypervolume improvement where there are several objectives (Daulton et al.,
    NeurIPS 2020).

    Args: as for `OptunaStrategy`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(GP(search_space("nasbench201")).ask(3))
        3
    """

    name = "gp"

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.startup, warn_independent_sampling=False)


class NSGA2(OptunaStrategy):
    """NSGA-II: generations of crossovers and mutations, of which the least dominated and least crowded are parents.

    A generation is as many architectures with a value as the population has, in the order told; those without one
    belong to none.

    Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE Transactions on Evolutionary
    Computation 2002. Optuna's `NSGAIISampler`.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: number of values in each result.
        population: architectures in a generation; the first one is random. As many as in regularized evolution here:
            Optuna's own default of 50 leaves few generations of a few hundred evaluations.

    Raises:
        InputError: the population is below 2.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(NSGA2(search_space("nasbench201"), objectives=2).ask(3))
        3
    """

    name = "nsga2"

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        objectives: int = 1,
        population: int = 32,
    ) -> None:
        if population < 2:
            raise InputError(f"The population is {population} architectures, expected at least 2.")
        self.population = population
        super().__init__(space, seed, objectives=objectives)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=self.population)
        # The parents stand in another order when they are chosen than ever after: choose them before the first draw.
        sampler.get_parent_population(self._current(), self._complete // self.population)
        return sampler

    def _attributes(self) -> dict[str, Any]:
        from optuna.samplers import NSGAIISampler

        # Trials that are added instead of asked for lack it, and would then be in no generation.
        return {NSGAIISampler._get_generation_key(): self._complete // self.population}


def _same(architecture: Architecture) -> Architecture:
    return architecture


# Studies.


def write_study(
    space: SearchSpace, results: Iterable[Result], storage: str, study_name: str = "trainless", *, objectives: int = 1
) -> None:
    """Write evaluated architectures as an Optuna study, which optuna-dashboard opens, of any strategy.

    Each is a trial with its choices as parameters and its string as a user attribute, all objectives to be maximised;
    what has no value is a pruned trial. A study of that name that was written here before is replaced.

    Args:
        space: the search space.
        results: in the order in which they shall stand, one an architecture.
        storage: a URL such as ``sqlite:///search.db``.
        study_name: the study's name in the storage.
        objectives: number of values in each result.

    Raises:
        InputError: the storage cannot be opened or written, or has such a study of another origin.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_study(space, [Result(space[0], (1.0,))], f"sqlite:///{folder}/search.db")
        ...     (Path(folder) / "search.db").exists()
        True
    """
    import optuna

    with _opened(storage) as opened:
        _check_free(opened, storage, study_name)
        if study_name in optuna.get_all_study_names(opened):
            optuna.delete_study(study_name=study_name, storage=opened)
        study = optuna.create_study(storage=opened, study_name=study_name, directions=["maximize"] * objectives)
        study.set_user_attr(_MARK, space.name)
        distributions = _distributions(space)
        study.add_trials(_trial(distributions, result) for result in results)


def check_study(storage: str, study_name: str = "trainless") -> None:
    """Refuse a study that `write_study` could not write, before anything long is computed for it.

    Args:
        storage: as for `write_study`.
        study_name: as for `write_study`.

    Raises:
        InputError: the storage cannot be opened or written, is in memory, or has such a study of another origin.

    Example:
        >>> check_study("sqlite://")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The storage 'sqlite://' is in memory and gone at once: give ... sqlite:///study.db.
    """
    import optuna

    with _opened(storage) as opened:
        if opened.engine.url.database in (None, "", ":memory:"):
            raise InputError(
                f"The storage '{without_secrets(storage)}' is in memory and gone at once: give a file, as in "
                "sqlite:///study.db."
            )
        _check_free(opened, storage, study_name)
        # That it can be opened does not say that it can be written.
        tried = f"{study_name}, {uuid.uuid4().hex}"
        optuna.create_study(storage=opened, study_name=tried)
        optuna.delete_study(study_name=tried, storage=opened)


@contextmanager
def _opened(storage: str) -> Iterator[optuna.storages.RDBStorage]:
    """Open a storage, quietly, and close it; whatever the database refuses is one sentence."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    opened = None
    try:
        with quiet():
            opened = optuna.storages.RDBStorage(storage)
            yield opened
    # A wrong URL, a missing driver, tables of another version of Optuna, a database that cannot be written.
    except (SQLAlchemyError, ImportError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise InputError(
            f"The storage '{without_secrets(storage)}' cannot be used ({_first_line(error)}): give a database URL that "
            "can be written, such as sqlite:///search.db."
        ) from error
    finally:
        if opened is not None:
            opened.remove_session()
            opened.engine.dispose()


def _check_free(opened: optuna.storages.RDBStorage, storage: str, study_name: str) -> None:
    import optuna

    if study_name in optuna.get_all_study_names(opened):
        study = optuna.load_study(study_name=study_name, storage=opened)
        if _MARK not in study.user_attrs:
            raise InputError(
                f"The storage '{without_secrets(storage)}' has a study '{study_name}' that was not written by "
                "trainless: give another name."
            )


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:  # Optuna's own sentences say less than the database's
        error = error.__cause__
    return without_secrets(str(error).strip().partition("\n")[0].rstrip("."))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's reports of every study and trial, and its notes on experimental parts, to itself."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _trial(
    distributions: dict[str, Any], result: Result, attributes: dict[str, Any] | None = None
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    notes = {"architecture": str(result.architecture)}
    return create_trial(
        state=TrialState.COMPLETE if result.values else TrialState.PRUNED,
        # Of a space without choices there is the string alone, which is noted in any case.
        params=dict(zip(distributions, result.architecture.genotype, strict=True)) if distributions else {},
        distributions=distributions,
        values=result.values or None,
        user_attrs=notes if result.values else notes | {"reason": _NO_VALUE},
        system_attrs=attributes if result.values else None,
    )


def _distributions(space: SearchSpace) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution

    return {f"place {number}": CategoricalDistribution(options) for number, options in enumerate(space.choices)}
