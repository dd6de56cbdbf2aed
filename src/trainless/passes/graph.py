"""What of a graph of autograd an output depends on."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["reached_nodes"]


def reached_nodes(output: torch.Tensor) -> set[Any]:
    """Find all nodes from which a path leads to an output, its own included; none where no graph was recorded.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> used, unused = 2 * x, 3 * x
        >>> nodes = reached_nodes(used.sum())
        >>> used.grad_fn in nodes, unused.grad_fn in nodes
        (True, False)
    """
    reached: set[Any] = set()
    stack = [output.grad_fn] if output.grad_fn is not None else []
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack.extend(parent for parent, _ in node.next_functions if parent is not None)
    return reached
