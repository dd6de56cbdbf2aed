"""Random streams that depend on nothing but their seed and name, and global state that is put back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["derive_seed", "generator", "preserve_rng_state"]


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed from a seed and the names of what it is for.

    The same arguments give the same number on every machine and Python version, whatever was drawn before,
    so scores do not depend on the order in which they are asked for.

    Example:
        >>> derive_seed(0, "weights") == derive_seed(0, "weights") != derive_seed(1, "weights")
        True
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Make a CPU random generator for one purpose, seeded by `derive_seed`.

    Example:
        >>> int(generator(0, "example").initial_seed()) == derive_seed(0, "example")
        True
    """
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *names))


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Put the global random state of Python, NumPy and PyTorch back on leaving, whatever happened inside.

    Example:
        >>> import random
        >>> state = random.getstate()
        >>> with preserve_rng_state():
        ...     _ = random.random()
        >>> random.getstate() == state
        True
    """
    import numpy as np
    import torch

    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
