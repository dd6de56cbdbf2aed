"""What is known of a tensor while a network runs: which of its dimensions counts images, and what it is made of.

Marks are attributes of the tensors that a pass makes; a network's own tensors never get one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import torch

__all__ = [
    "METADATA",
    "Batched",
    "Origin",
    "batched",
    "by_image",
    "mark_batched",
    "mark_origin",
    "origin",
    "tensors_in",
]

_CONTAINERS = (list, tuple)
_BATCHED, _ORIGIN = "_trainless_batched", "_trainless_origin"
_PLAIN = frozenset({bool, int, float, str, type(None)})
_serials = count()

_T = torch.Tensor
METADATA = frozenset(
    {_T.size, _T.dim, _T.ndimension, _T.numel, _T.is_floating_point, _T.is_complex, torch.is_floating_point,
     torch.is_tensor, _T.__len__, torch.numel}
    | {getattr(_T, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda", "layout",
                                              "is_sparse", "is_quantized", "is_meta", "is_nested", "is_mkldnn")}
)  # fmt: skip
"""Functions that tell of a tensor's form and make none."""


class Batched(NamedTuple):
    """The mark of what depends on the images.

    Args:
        dim: the dimension along which images are counted.
        images: how many there are; along `dim` may be several rows for each, those of the first image first.
        serial: a number that no other value of an activation has.
    """

    dim: int
    images: int
    serial: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The mark of what is computed from parameters and buffers alone.

    Args:
        key: the same for the same computation of the same tensors.
        order: which registered tensor is the first of those it is computed from.
        names: the registered tensors it is computed from.
        base: the value itself, but for how its numbers are arranged.
        arrange: makes the tensor at hand of anything shaped as `base`.
    """

    key: Hashable
    order: int
    names: frozenset[str]
    base: torch.Tensor
    arrange: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()


def batched(tensor: Any) -> Batched | None:
    """The mark of a tensor that depends on the images, or None."""
    return getattr(tensor, _BATCHED, None)


def origin(tensor: Any) -> Origin | None:
    """The mark of a tensor that is computed from parameters, or None."""
    return getattr(tensor, _ORIGIN, None)


def mark_batched(tensor: torch.Tensor, dim: int, images: int) -> None:
    """Mark a tensor, once more after each change of its values."""
    setattr(tensor, _BATCHED, Batched(dim, images, next(_serials)))


def mark_origin(tensor: torch.Tensor, mark: Origin) -> None:
    """Mark a tensor that is computed from parameters."""
    setattr(tensor, _ORIGIN, mark)


def tensors_in(args: Iterable[Any]) -> list[torch.Tensor]:
    """All tensors among arguments and within lists of them."""
    found = []
    for arg in args:
        if isinstance(arg, torch.Tensor):
            found.append(arg)
        elif isinstance(arg, _CONTAINERS) and not _PLAIN.issuperset(map(type, arg)):
            found.extend(tensors_in(arg))
    return found


def by_image(tensor: torch.Tensor) -> torch.Tensor:
    """Bring the images to the first dimension: shape ``(images, ...)``, without a copy where that is possible."""
    mark = batched(tensor)
    if mark is None:
        return tensor
    if mark.dim:
        tensor = tensor.movedim(mark.dim, 0)
    if len(tensor) != mark.images:
        tensor = tensor.unflatten(0, (mark.images, -1))
    return tensor
