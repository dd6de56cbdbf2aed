"""REINFORCE: a policy over the choices of a genotype, moved towards what was ranked above the average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.strategies.genotype_codes import GenotypeCodes
from trainless.types import Architecture

__all__ = ["Reinforce"]

_BLOCK = 32  # architectures drawn from the policy at a time


class Reinforce(Strategy):
    """REINFORCE: independent categorical choices, with a moving-average baseline and Adam.

    The reward is the relative rank of a value among all that was told, from 0 for the worst to 1 for the best, ties in
    the middle, so that it does not depend on the scale of the score; what has no value ranks below all that has one.
    Each `tell` is one step of the policy, for the architectures that are new in it, whether they were drawn from the
    policy or not. Proposals are never repeated: draws that are known already are mutated where all of several are.

    Source: Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, 1992;
    Zoph & Le, Neural Architecture Search with Reinforcement Learning, ICLR 2017, here without the recurrent controller.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        learning_rate: step size of Adam.
        entropy: weight of the policy's entropy, in nats, against rewards between 0 and 1.
        momentum: share of the baseline that is kept at each step.

    Raises:
        InputError: the learning rate is not above 0, the entropy below 0, or the momentum not from 0 to below 1.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> search = Reinforce(space, learning_rate=10.0, entropy=0.0)
        >>> good, bad = space.make(["skip_connect"] * 6), space.make(["none"] * 6)
        >>> search.tell([Result(good, (2.0,)), Result(bad, (1.0,))])
        >>> search.ask()[0].architecture in space.neighbors(good)
        True
    """

    name = "reinforce"
    batch = 2

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        objectives: int = 1,
        learning_rate: float = 0.1,
        entropy: float = 0.01,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        if not (0 < learning_rate < float("inf") and 0 <= entropy < float("inf") and 0 <= momentum < 1):
            raise InputError(
                f"The learning rate is {learning_rate}, the entropy {entropy} and the momentum {momentum}, expected a "
                "rate above 0, an entropy of at least 0 and a momentum from 0 to below 1."
            )
        import torch

        self.learning_rate, self.entropy, self.momentum = learning_rate, entropy, momentum
        self.baseline = 0.5  # the mean rank of what is drawn at random
        self._codes = GenotypeCodes(space)
        self._missing = torch.from_numpy(~self._codes.mask)
        self.logits = torch.nn.Parameter(torch.zeros(self._missing.shape, dtype=torch.float64))
        self._optimizer = torch.optim.Adam([self.logits], lr=learning_rate)

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose architectures drawn from the policy."""
        draws = self._draws()
        return [Proposal(architecture) for architecture in self._fresh(n, lambda: next(draws), walk=True)]

    def _draws(self) -> Iterator[Architecture]:
        import torch

        # All of torch's randomness comes from the strategy's own generator, so that its state is the whole state.
        source = torch.Generator().manual_seed(int(self.rng.integers(2**63)))
        policy = self.logits.detach().masked_fill(self._missing, -torch.inf).softmax(1)
        while True:
            drawn = torch.multinomial(policy, _BLOCK, replacement=True, generator=source)
            yield from map(self._codes.architecture, drawn.T.tolist())

    def tell(self, results: Iterable[Result]) -> None:
        """Learn, and take one step of the policy for all architectures that are new."""
        told = list(results)
        new = list(dict.fromkeys(result.architecture for result in told if result.architecture not in self.seen))
        super().tell(told)
        if new:
            self._step(new)

    def _step(self, new: Sequence[Architecture]) -> None:
        import torch

        rewards = self._rewards(new)
        codes = torch.from_numpy(self._codes.codes(new))
        # A large negative number, unlike -inf, has a gradient (of 0) in the entropy too.
        logs = self.logits.masked_fill(self._missing, -1e9).log_softmax(1)
        chosen = logs.expand(len(new), -1, -1).gather(2, codes[:, :, None]).sum((1, 2))
        entropy = -(logs.exp() * logs).sum()
        loss = -(torch.from_numpy(rewards - self.baseline) * chosen).mean() - self.entropy * entropy
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.baseline += (1 - self.momentum) * (float(rewards.mean()) - self.baseline)

    def _rewards(self, new: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Relative ranks among all that was told, from 0 to 1."""
        others = len(self.seen) - 1
        if not others:
            return np.array([0.5])
        ranked = np.full(len(self.seen), -np.inf)
        ranked[: len(self.values)] = [values[0] for values in self.values.values()]
        ranked.sort()
        own = np.array([self.values.get(architecture, (-np.inf,))[0] for architecture in new])
        below, up_to = np.searchsorted(ranked, own, "left"), np.searchsorted(ranked, own, "right")
        return (below + up_to - 1) / (2 * others)
