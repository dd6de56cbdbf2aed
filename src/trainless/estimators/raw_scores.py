"""The scores of proxies as they are, without anything made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from trainless.estimators.base import Ask, Estimate, Estimator, Setting
from trainless.estimators.fidelities import Fidelity
from trainless.proxies import Proxy
from trainless.scoring import Scorer
from trainless.types import Architecture, Score

__all__ = ["RawScores"]


@dataclass(frozen=True)
class RawScores(Estimator):
    """Scores each architecture by proxies, for who makes one number of them: a search, among all that it has seen.

    Each estimate has the `scores`, in the order of the proxies; a value only where there is a single proxy, turned
    where lower is better.

    Args:
        proxies: what is scored.
        batch_size: images that are drawn by the seed of the setting and seen.
        device: where the networks are scored, as PyTorch names it.
        precision: of convolutions and linear maps, as for `trainless.Scorer`.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.proxies import proxies
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> setting = Setting(space, load_data("digits"), workers=0)
        >>> RawScores(tuple(proxies("params, flops"))).estimate([space[0]], setting)[0].row
        (129018.0, 960128.0)
    """

    name = "raw-scores"
    sees_all_images = False

    proxies: tuple[Proxy, ...]
    batch_size: int = 64
    device: str = "cpu"
    precision: str = "float32"

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        in_half = f", convolutions and linear maps in {self.precision}" if self.precision != "float32" else ""
        return f"no training{in_half}"

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Keep workers that score."""
        scorer = Scorer(
            setting.space, self.proxies, setting.data, seed=setting.seed, batch_size=self.batch_size,
            workers=setting.workers, store=setting.store, device=self.device, precision=self.precision,
        )  # fmt: skip
        with scorer.session() as score:

            def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
                rows = zip(architectures, score(architectures), strict=True)
                return [replace(self._estimate(architecture, row), note=scorer.note) for architecture, row in rows]

            yield ask

    def reduced_session(self, setting: Setting, fidelity: Fidelity) -> AbstractContextManager[Ask]:
        """Begin to score smaller networks on a smaller batch, which is drawn from as many images."""
        smaller = setting.within(fidelity.of_space(setting.space), fidelity.of_data(setting.data))
        return replace(self, batch_size=fidelity.of_batch(self.batch_size)).session(smaller)

    def _estimate(self, architecture: Architecture, row: dict[str, Score]) -> Estimate:
        scores = tuple(row[proxy.name] for proxy in self.proxies)
        single = self.proxies[0] if len(self.proxies) == 1 else None
        value = scores[0].value * (1 if single.higher_is_better else -1) if single else math.nan
        reason = "; ".join(sorted({score.reason for score in scores if score.reason}))
        seconds = sum(score.seconds if score.spent is None else score.spent for score in scores)
        return Estimate(str(architecture), value, seconds, reason=reason, scores=scores)
