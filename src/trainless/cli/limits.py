"""Options for what a network may cost, one for each cost, which several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import typer

from trainless.costs import COSTS

__all__ = ["NO_LIMITS", "Most", "limit_options"]

Most = Mapping[str, float]
"""The most of each cost that is limited, by its name."""

NO_LIMITS: Most = MappingProxyType({})


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Put an option ``--max-NAME`` for each cost in place of a command's parameter ``most``.

    Args:
        command: has a parameter ``most`` of type `Most`, which gets what the options limit.

    Example:
        >>> @limit_options
        ... def show(most: Most = NO_LIMITS) -> None:
        ...     print(dict(most))
        >>> show(max_params="20k", max_latency="5ms")
        {'params': 20000.0, 'latency': 5.0}
    """
    hints = get_type_hints(command, include_extras=True)
    options = [
        inspect.Parameter(
            f"max_{name}", inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[
                str | None, typer.Option(help=f"Limit on the {cost.summary}, such as {cost.examples[0]}.")
            ],
        )
        for name, cost in COSTS.items()
    ]  # fmt: skip
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        parameters += options if name == "most" else [own]

    @wraps(command)
    def limited(**given: Any) -> None:
        texts = {name: given.pop(f"max_{name}", None) for name in COSTS}
        most = {
            name: COSTS[name].parse(text, f"--max-{name.replace('_', '-')}")
            for name, text in texts.items()
            if text is not None
        }
        command(**given, most=most)

    limited.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    limited.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return limited
