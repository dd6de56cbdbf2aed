"""Aggregations as objects: fitted to a reference sample, they score new architectures too, and travel as JSON.

A search scores architectures one by one and cannot wait for the largest score of all. An aggregate takes from a
reference sample what a sum needs to know of the whole (largest values, ranks, means), keeps it, and scores any
architecture against it. Scored against itself, a sample gets exactly what the formula gives for it.
"""

from __future__ import annotations

import json
import math
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.aggregation.weighted import ALPHA, BETA, HYBRID_PAIR, check_weight, combine, largest_finite
from trainless.errors import InputError, UnknownNameError
from trainless.ranking import NON_FINITE_POLICY, average_ranks, column, finite_last

__all__ = [
    "AGGREGATES",
    "Aggregate",
    "Hybrid",
    "LogRankSum",
    "MaximumSum",
    "Product",
    "RankSum",
    "ZScoreSum",
    "aggregate",
    "load_aggregate",
]

_FORMAT = 1
_LARGEST_SIZE = 10**9  # of the reference in a file; no sample comes near it

Array = npt.NDArray[np.float64]


class Aggregate(ABC):
    """A score made of the scores of several proxies, relative to a reference sample of architectures.

    Args:
        proxies: names of the columns it reads, in order.
        lower_is_better: those among them whose sign is turned; None asks `trainless.proxies.PROXIES`.

    Raises:
        InputError: no name, or a name twice.

    Example:
        >>> reference = pd.DataFrame({"flops": [1.0, 2.0, 4.0], "nwot": [5.0, 9.0, 7.0]}, index=["a", "b", "c"])
        >>> mix = LogRankSum(["flops", "nwot"]).fit(reference)
        >>> mix.score(reference).round(3).to_dict()
        {'a': -2.197, 'b': -0.405, 'c': -0.405}
        >>> mix.score(pd.DataFrame({"flops": [3.0], "nwot": [8.0]}, index=["new"])).round(3).to_dict()
        {'new': -0.365}
    """

    kind: ClassVar[str]
    """The name under which `AGGREGATES` and a saved file know it."""
    formula: ClassVar[str]
    is_relative: ClassVar[bool] = True
    """Whether a score depends on the reference, so that one architecture alone cannot have it."""

    def __init__(self, proxies: Sequence[str], *, lower_is_better: Sequence[str] | None = None) -> None:
        for names in (proxies, lower_is_better):
            # A string is a sequence of its letters.
            if isinstance(names, str):
                listed = [name.strip() for name in names.split(",")]
                raise InputError(f"The proxies are the text '{names}', expected a list of names: write {listed}.")
        self.proxies = tuple(proxies)
        if not self.proxies or len(set(self.proxies)) < len(self.proxies):
            raise InputError(f"The proxies are {list(self.proxies)}, expected one or more different names.")
        turned = _lower_is_better(self.proxies) if lower_is_better is None else lower_is_better
        self.lower_is_better = tuple(name for name in self.proxies if name in set(turned))
        self.reference: dict[str, Any] = {}
        self.origin = ""

    @property
    def name(self) -> str:
        """The kind and what it joins, such as ``log-rank(flops, nwot)``."""
        return f"{self.kind}({', '.join(self.proxies)})"

    def fit(self, scores: pd.DataFrame, origin: str = "") -> Self:
        """Take from a reference sample what scoring needs; a second fit replaces the first.

        Args:
            scores: one row an architecture and a column for each of `proxies`; may hold infinities and NaN.
            origin: where the sample comes from, kept for the record.

        Raises:
            InputError: a column is missing or cannot be used.
        """
        columns = self._columns(scores)
        if not len(scores):
            raise InputError("The reference sample is empty, expected at least one architecture.")
        self.reference = self._summarise(columns)
        self.origin = origin
        return self

    def score(self, scores: pd.DataFrame) -> pd.Series:
        """Score architectures against the reference; higher is better.

        Args:
            scores: as for `fit`, of any architectures.

        Returns:
            One number an architecture, with the index of `scores`, named after the aggregate. Where a score of a proxy
            is not finite, so that it is ranked last, `Hybrid`, `ZScoreSum` and `MaximumSum` give NaN or −∞, while the
            rank sums take the lowest rank for that proxy alone.

        Raises:
            InputError: nothing was fitted, or a column is missing.
        """
        if not self.reference:
            raise InputError(f"{self.name} has no reference sample yet: call fit with the scores of one first.")
        return pd.Series(self._combine(self._columns(scores)), index=scores.index, name=self.name)

    def fit_score(self, scores: pd.DataFrame) -> pd.Series:
        """Score a sample against itself: the formula as the papers write it."""
        return self.fit(scores).score(scores)

    def among(self, columns: Sequence[Array]) -> Array:
        """Score a set that is still growing against itself, as a search does: `fit_score` on bare arrays.

        Where a set is too small for the formula, since no score of a proxy is above zero yet or all are equal, that
        proxy says nothing: each of its scores counts as it is, or as the mean.

        Args:
            columns: for each of `proxies` its scores, shape ``(n,)``, n at least 1, the sign of those of which lower is
                better turned already.

        Returns:
            Shape ``(n,)``; what is ranked last is NaN or −∞ as in `score`.

        Example:
            >>> MaximumSum(["a", "b"]).among([np.array([1.0, 2.0]), np.array([0.0, 0.0])])
            array([0.5, 1. ])
        """
        growing = copy(self)
        growing.reference = self._growing(list(columns))
        return growing._combine(list(columns))

    def joined(self, columns: Sequence[Array]) -> Array:
        """Score bare arrays against the fitted reference; see `among` for the columns.

        Example:
            >>> RankSum(["a"]).fit(pd.DataFrame({"a": [1.0, 2.0]})).joined([np.array([1.0, 9.0])])
            array([0.5 , 1.25])
        """
        return self._combine(list(columns))

    def is_like(self, other: Aggregate) -> bool:
        """Whether another one joins the same by the same formula, whatever their references.

        Example:
            >>> RankSum(["a", "b"]).is_like(RankSum(["a", "b"])), RankSum(["a", "b"]).is_like(LogRankSum(["a", "b"]))
            (True, False)
        """
        return (self.kind, self.proxies, self.lower_is_better, self._options()) == (
            other.kind, other.proxies, other.lower_is_better, other._options()
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write the aggregate with its reference as JSON.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            Path(path).write_text(self.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error

    def to_json(self) -> str:
        """Give all that decides its scores as JSON."""
        document = {
            "trainless": "aggregate",
            "format": _FORMAT,
            "kind": self.kind,
            "formula": self.formula,
            "proxies": list(self.proxies),
            "lower_is_better": list(self.lower_is_better),
            "options": self._options(),
            "not_finite": NON_FINITE_POLICY,
            "origin": self.origin,
            "reference": self.reference,
        }
        return json.dumps(document, indent=1, allow_nan=False, default=np.ndarray.tolist)

    # What a kind says of itself.

    def _options(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def _summarise(self, columns: list[Array]) -> dict[str, Any]:
        """Tell what of a reference sample is to be kept: finite numbers, and arrays or lists of arrays of them."""

    def _growing(self, columns: list[Array]) -> dict[str, Any]:
        """The same of a set that may still be too small for it."""
        return self._summarise(columns)

    @abstractmethod
    def _checked(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a saved reference into what `_summarise` gave, and refuse what it cannot have given."""

    @abstractmethod
    def _combine(self, columns: list[Array]) -> Array:
        """Join columns of scores by the reference."""

    def _columns(self, scores: pd.DataFrame) -> list[Array]:
        if not isinstance(scores, pd.DataFrame):
            raise InputError(
                f"The scores are of type {type(scores).__name__}, expected a pandas DataFrame with a column for each "
                "proxy: make them so."
            )
        missing = [name for name in self.proxies if name not in scores.columns]
        if missing:
            raise InputError(
                f"{self.name} needs scores of {', '.join(missing)}, which are not among "
                f"{', '.join(map(str, scores.columns)) or 'any'}: score them first."
            )
        return [
            (-1 if name in self.lower_is_better else 1) * column(scores[name], f"'{name}'") for name in self.proxies
        ]

    def _one_each(self, saved: Mapping[str, Any], name: str, positive: bool = False) -> Array:
        """Read a finite number for each proxy from a saved reference."""
        values = column(saved[name], f"the reference's '{name}'")
        usable = np.isfinite(values) & ((values > 0) | (not positive))
        if len(values) != len(self.proxies) or not usable.all():
            raise InputError(
                f"the reference's '{name}' is {reprlib.repr(values.tolist())}, expected a finite number"
                f"{' above 0' * positive} for each of {len(self.proxies)} proxies."
            )
        return values


class _ByLargest(Aggregate):
    """What divides each score by the largest finite one of the reference."""

    def _summarise(self, columns: list[Array]) -> dict[str, Any]:
        return {"largest": np.array([largest_finite(*named) for named in zip(columns, self.proxies, strict=True)])}

    def _growing(self, columns: list[Array]) -> dict[str, Any]:
        largest = finite_last(np.array(columns)).max(axis=1)
        return {"largest": np.where(largest > 0, largest, 1.0)}

    def _checked(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        return {"largest": self._one_each(saved, "largest", positive=True)}

    def _divided(self, columns: list[Array]) -> Array:
        divided: Array = np.array(columns) / self.reference["largest"][:, None]
        return divided


class Hybrid(_ByLargest):
    """The Hybrid proxy: ``alpha · DIN + beta · DDN`` where ``DIN ≤ DDN``, ``DIN`` elsewhere (equations 5.3 and 5.4).

    The reference gives the two largest finite scores by which DIN and DDN are normalised.

    Args:
        proxies: the data-independent and the data-dependent one.
        alpha: weight of the data-independent score, at least 0.
        beta: weight of the data-dependent score, at least 0.
        condition: False takes the sum everywhere.
        lower_is_better: as for `Aggregate`.

    Raises:
        InputError: other than two proxies, a weight is negative or not finite, or the condition is neither True nor
            False.

    Example:
        >>> reference = pd.DataFrame({"logsynflow": [1.0, 2.0, 8.0], "nwot": [10.0, 20.0, 10.0]})
        >>> Hybrid().fit(reference).score(reference).tolist()
        [0.8125, 1.625, 1.0]
    """

    kind = "hybrid"
    formula = "alpha * DIN + beta * DDN where DIN <= DDN, DIN elsewhere; each score divided by the reference's largest"

    def __init__(
        self,
        proxies: Sequence[str] = HYBRID_PAIR,
        *,
        alpha: float = ALPHA,
        beta: float = BETA,
        condition: bool = True,
        lower_is_better: Sequence[str] | None = None,
    ) -> None:
        super().__init__(proxies, lower_is_better=lower_is_better)
        if len(self.proxies) != 2:
            raise InputError(
                f"The Hybrid is given {len(self.proxies)} proxies, expected a data-independent and a "
                "data-dependent one."
            )
        check_weight("alpha", alpha)
        check_weight("beta", beta)
        if condition not in (True, False):
            raise InputError(f"condition is {condition!r}, expected True or False.")
        self.alpha, self.beta, self.condition = float(alpha), float(beta), bool(condition)

    def _options(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "beta": self.beta, "condition": self.condition}

    def _combine(self, columns: list[Array]) -> Array:
        din, ddn = self._divided(columns)
        return combine(din, ddn, self.alpha, self.beta, self.condition)


class RankSum(Aggregate):
    """The sum of relative ranks, ``Σ rank / n``: each proxy counts by order alone.

    The lowest rank is 1 and ties share their average; what is not finite is one tie below all finite scores.

    Args:
        proxies: names of the columns it reads.
        halved: those among them that count half.
        lower_is_better: as for `Aggregate`.

    Raises:
        InputError: as for `Aggregate`, or another proxy counts half.

    Example:
        >>> RankSum(["a", "b"]).fit_score(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 9.0]})).tolist()
        [1.0, 2.0]
    """

    kind = "rank"
    formula = "sum of rank / n, the lowest rank being 1"

    def __init__(
        self, proxies: Sequence[str], *, halved: Sequence[str] = (), lower_is_better: Sequence[str] | None = None
    ) -> None:
        super().__init__(proxies, lower_is_better=lower_is_better)
        if others := [name for name in halved if name not in self.proxies]:
            raise InputError(f"{others[0]!r} is to count half, expected one of {', '.join(self.proxies)}.")
        self.halved = tuple(halved)

    def _options(self) -> dict[str, Any]:
        return {"halved": list(self.halved)} if self.halved else {}

    def _summarise(self, columns: list[Array]) -> dict[str, Any]:
        # JSON has no infinity: the number of non-finite scores stands for them.
        return {"size": len(columns[0]), "finite": [np.sort(scores[np.isfinite(scores)]) for scores in columns]}

    def _checked(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        size, finite = saved["size"], [column(scores, "the reference's 'finite'") for scores in saved["finite"]]
        if len(finite) != len(self.proxies):
            raise InputError(
                f"the reference's 'finite' holds {len(finite)} lists, expected one for each of {len(self.proxies)} "
                "proxies."
            )
        for name, scores in zip(self.proxies, finite, strict=True):
            if not np.isfinite(scores).all() or (scores[1:] < scores[:-1]).any():
                raise InputError(f"the reference's 'finite' of '{name}' is not finite numbers sorted upwards.")
        least = max(1, *map(len, finite))
        if type(size) is not int or not least <= size <= _LARGEST_SIZE:
            raise InputError(
                f"the reference's 'size' is {reprlib.repr(size)}, expected a whole number from {least} to "
                f"{_LARGEST_SIZE}."
            )
        return {"size": size, "finite": finite}

    def _combine(self, columns: list[Array]) -> Array:
        # Rounded, so that equal products of ranks, such as 2 · 6 and 3 · 4, stay equal as sums of logarithms.
        terms = [
            self._term(ranks) * (0.5 if name in self.halved else 1.0)
            for name, ranks in zip(self.proxies, self._relative_ranks(columns), strict=True)
        ]
        total: Array = np.sum(terms, axis=0).round(12)
        return total

    def _relative_ranks(self, columns: list[Array]) -> list[Array]:
        size = self.reference["size"]
        return [
            _ranks(scores, finite, size - len(finite)) / size
            for scores, finite in zip(columns, self.reference["finite"], strict=True)
        ]

    def _term(self, relative_ranks: Array) -> Array:
        return relative_ranks


class LogRankSum(RankSum):
    """The sum of the logarithms of relative ranks, ``Σ ln(rank / n)``, as AZ-NAS joins its proxies (CVPR 2024).

    It rewards architectures that no proxy ranks low, and needs neither positive scores nor a scale.

    Example:
        >>> LogRankSum(["a", "b"]).fit_score(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 9.0]})).round(4).tolist()
        [-1.3863, 0.0]
    """

    kind = "log-rank"
    formula = "sum of ln(rank / n), the lowest rank being 1"

    def _term(self, relative_ranks: Array) -> Array:
        logarithms: Array = np.log(relative_ranks)
        return logarithms


class ZScoreSum(Aggregate):
    """The sum of standard scores, ``Σ (s − mean) / deviation``, by the finite scores of the reference.

    Example:
        >>> ZScoreSum(["a", "b"]).fit_score(pd.DataFrame({"a": [1.0, 3.0], "b": [5.0, 1.0]})).tolist()
        [0.0, 0.0]
    """

    kind = "z-score"
    formula = "sum of (score - mean) / population standard deviation of the reference's finite scores"

    def _summarise(self, columns: list[Array]) -> dict[str, Any]:
        means, deviations = [], []
        for name, scores in zip(self.proxies, columns, strict=True):
            number, mean, deviation = _moments(scores)
            if not (math.isfinite(deviation) and deviation > 0):
                raise InputError(
                    f"The standard deviation of '{name}' over {number} finite scores is {deviation:g}, expected "
                    "a finite one above 0: choose another proxy, or a sum of ranks."
                )
            means.append(mean)
            deviations.append(deviation)
        return {"mean": np.array(means), "deviation": np.array(deviations)}

    def _growing(self, columns: list[Array]) -> dict[str, Any]:
        moments = [_moments(scores) for scores in columns]
        return {
            "mean": np.array([mean for _, mean, _ in moments]),
            "deviation": np.array([value if 0 < value < math.inf else 1.0 for _, _, value in moments]),
        }

    def _checked(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "mean": self._one_each(saved, "mean"),
            "deviation": self._one_each(saved, "deviation", positive=True),
        }

    def _combine(self, columns: list[Array]) -> Array:
        terms = zip(columns, self.reference["mean"], self.reference["deviation"], strict=True)
        return _finite_sum(np.array([(scores - mean) / deviation for scores, mean, deviation in terms]))


class MaximumSum(_ByLargest):
    """The sum of scores each divided by the reference's largest, ``Σ s / max s``, as FreeREA joins its three metrics.

    Its published proxies are nwot, logsynflow and skipped_layers (WACV 2023).

    Example:
        >>> MaximumSum(["a", "b"]).fit_score(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 9.0]})).round(4).tolist()
        [0.8333, 2.0]
    """

    kind = "maximum"
    formula = "sum of score / the reference's largest finite score"

    def __init__(
        self,
        proxies: Sequence[str] = ("nwot", "logsynflow", "skipped_layers"),
        *,
        lower_is_better: Sequence[str] | None = None,
    ) -> None:
        super().__init__(proxies, lower_is_better=lower_is_better)

    def _combine(self, columns: list[Array]) -> Array:
        return _finite_sum(self._divided(columns))


class Product(Aggregate):
    """The product of scores, ``Π s``, which no reference changes.

    Example:
        >>> Product(["a", "b"]).fit_score(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 9.0]})).tolist()
        [3.0, 18.0]
    """

    kind = "product"
    formula = "product of the scores"
    is_relative = False

    def _summarise(self, columns: list[Array]) -> dict[str, Any]:
        return {"size": len(columns[0])}

    def _checked(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        size = saved["size"]
        if type(size) is not int or size < 1:
            raise InputError(f"the reference's 'size' is {reprlib.repr(size)}, expected a whole number above 0.")
        return {"size": size}

    def _combine(self, columns: list[Array]) -> Array:
        terms = np.array(columns)
        finite = np.isfinite(terms)
        product = np.where(finite, terms, 1.0).prod(axis=0)
        return np.where(np.isnan(terms).any(axis=0), np.nan, np.where(finite.all(axis=0), product, -np.inf))


AGGREGATES: dict[str, type[Aggregate]] = {
    cls.kind: cls for cls in (Hybrid, LogRankSum, RankSum, ZScoreSum, MaximumSum, Product)
}
"""Every kind of aggregate by its name."""


def aggregate(kind: str | Aggregate, proxies: Sequence[str] | None = None, **options: Any) -> Aggregate:
    """Look an aggregate up by kind; an `Aggregate` is given back as it is.

    Args:
        kind: a name of `AGGREGATES`.
        proxies: what it joins; None takes the published ones, where there are such.
        options: further arguments of the kind, such as ``alpha``.

    Raises:
        UnknownNameError: no aggregate has that name.
        InputError: the kind has no published proxies and none are given, or an option does not fit.

    Example:
        >>> aggregate("hybrid", alpha=1, beta=3).proxies
        ('logsynflow', 'nwot')
    """
    if isinstance(kind, Aggregate):
        return kind
    if kind not in AGGREGATES:
        raise UnknownNameError("aggregate", kind, AGGREGATES)
    try:
        return AGGREGATES[kind](*([] if proxies is None else [proxies]), **options)
    except TypeError as error:
        raise InputError(f"The aggregate '{kind}' cannot be made of that ({error}): name its proxies.") from error


def load_aggregate(path: str | Path) -> Aggregate:
    """Read an aggregate that `Aggregate.save` wrote.

    Raises:
        InputError: the file cannot be read, is of another kind or of a newer format, or holds what no `fit` gives.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RankSum(["a"]).fit(pd.DataFrame({"a": [1.0, 2.0]})).save(Path(folder) / "mix.json")
        ...     load_aggregate(Path(folder) / "mix.json").score(pd.DataFrame({"a": [9.0]})).tolist()
        [1.25]
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): give a file that an aggregate wrote.") from error
    if not isinstance(document, dict) or document.get("trainless") != "aggregate":
        raise InputError(f"{path} holds no aggregate of trainless: give a file that an aggregate wrote.")
    if document.get("format") != _FORMAT:
        raise InputError(
            f"{path} has format {document.get('format')}, this trainless knows {_FORMAT}: upgrade trainless, or fit "
            "the aggregate again."
        )
    try:
        return _restored(document)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).removesuffix(".")
        raise InputError(f"{path} is damaged ({reason}): fit the aggregate again.") from error


def _restored(document: Mapping[str, Any]) -> Aggregate:
    made = aggregate(
        document["kind"], document["proxies"], lower_is_better=document["lower_is_better"], **document["options"]
    )
    made.reference, made.origin = made._checked(document["reference"]), str(document["origin"])
    return made


def _ranks(values: Array, finite: Array, others: int) -> Array:
    """Rank values in a reference of sorted finite scores and a number of others, which are one tie below these."""
    ranks = others + average_ranks(finite_last(values), finite)
    return np.where(np.isfinite(values), ranks, (others + 1) / 2)


def _moments(values: Array) -> tuple[int, float, float]:
    """The number of finite scores, their mean and their deviation; 0 where there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0, 0.0, 0.0
    # A range of huge numbers overflows when squared.
    with np.errstate(over="ignore"):
        return len(finite), float(finite.mean()), float(finite.std())


def _finite_sum(terms: Array) -> Array:
    """Sum terms over the first axis: NaN where one is NaN, otherwise −∞ where one is infinite, of either sign."""
    finite = np.isfinite(terms)
    total: Array = np.where(finite, terms, 0.0).sum(axis=0)
    if finite.all():  # most often, and the rest costs as much again
        return total
    return np.where(np.isnan(terms).any(axis=0), np.nan, np.where(finite.all(axis=0), total, -np.inf))


def _lower_is_better(names: Sequence[str]) -> list[str]:
    from trainless.proxies import PROXIES

    return [name for name in names if name in PROXIES and not PROXIES[name].higher_is_better]
