"""Estimators of performance by name: from a whole training to a score without any, behind one contract."""

from __future__ import annotations

from trainless.estimators.accuracy_in_time import AccuracyInTime, Prospect
from trainless.estimators.base import Ask, Estimate, Estimator, Setting, distinct_sample
from trainless.estimators.curves import Forecast, extrapolate
from trainless.estimators.learning import LearningCurve
from trainless.estimators.morphed import Morphed
from trainless.estimators.shared_weights import Inherited, OneShot
from trainless.estimators.surrogate import Surrogate
from trainless.estimators.trained import EarlyStopping, Full, Reduced
from trainless.estimators.zero_cost import ZeroCost
from trainless.specs import look_up, options_of

__all__ = [
    "ESTIMATORS", "AccuracyInTime", "Ask", "EarlyStopping", "Estimate", "Estimator", "Forecast", "Full", "Inherited",
    "LearningCurve", "Morphed", "OneShot", "Prospect", "Reduced", "Setting", "Surrogate", "ZeroCost", "distinct_sample",
    "estimator", "extrapolate", "options_of",
]  # fmt: skip

ESTIMATORS: dict[str, type[Estimator]] = {
    kind.name: kind
    for kind in (
        Full, EarlyStopping, Reduced, LearningCurve, Surrogate, OneShot, Inherited, Morphed, ZeroCost, AccuracyInTime,
    )
}  # fmt: skip


def estimator(spec: str | Estimator) -> Estimator:
    """Look an estimator up by its name with options; an object is given back as it is.

    Args:
        spec: a name of `ESTIMATORS`, with options in parentheses where they shall be other than usual, such as
            ``"reduced(epochs=4, channels=0.5, images=0.25)"``; or an `Estimator`.

    Raises:
        UnknownNameError: there is none of that name.
        InputError: it has no such option, or a value cannot be used.

    Example:
        >>> str(estimator("early-stopping(8)"))
        'early-stopping(epochs=8, patience=3)'
        >>> estimator("surrogate(boosting, base=reduced(epochs=2))").base
        'reduced(epochs=2)'
    """
    return spec if isinstance(spec, Estimator) else look_up("estimator", spec, ESTIMATORS)()
