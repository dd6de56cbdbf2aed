"""Options for what a network may cost, which several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainless.search import Limits

__all__ = ["MaxFlops", "MaxLatency", "MaxMemory", "MaxParams", "limits_of"]

MaxParams = Annotated[str | None, typer.Option(help="Most parameters, such as 0.8M.")]
MaxFlops = Annotated[str | None, typer.Option(help="Most multiply-adds, such as 100M.")]
MaxLatency = Annotated[str | None, typer.Option(help="Longest inference of an image here, such as 5ms.")]
MaxMemory = Annotated[str | None, typer.Option(help="Most memory of that, such as 2MiB.")]


def limits_of(
    max_params: str | None, max_flops: str | None, max_latency: str | None, max_memory: str | None,
    columns: Iterable[str] = (),
) -> Limits:  # fmt: skip
    """Read the limits that options give; columns are limits on those of a table."""
    from trainless.search import Limits, parse_limits, parse_memory, parse_milliseconds, parse_number

    def parsed(parse: Callable[[str, str], float], text: str | None, option: str) -> float | None:
        return None if text is None else parse(text, option)

    return Limits(
        parameters=parsed(parse_number, max_params, "--max-params"),
        flops=parsed(parse_number, max_flops, "--max-flops"),
        latency=parsed(parse_milliseconds, max_latency, "--max-latency"),
        memory=parsed(parse_memory, max_memory, "--max-memory"),
        columns=parse_limits(columns),
    )
