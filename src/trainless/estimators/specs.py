"""Estimators as text: a name with options, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from trainless.errors import InputError, UnknownNameError
from trainless.estimators.base import Estimator
from trainless.estimators.scores import split_names
from trainless.training import Recipe

__all__ = ["options_of", "parse_estimator", "spec_of"]

_WORDS = {"yes": True, "true": True, "no": False, "false": False}


def options_of(kind: type[Estimator]) -> dict[str, Any]:
    """Tell the options of an estimator with their defaults; those of a recipe are left out."""
    return {each.name: _default(each) for each in _fields(kind) if each.name != "recipe"}


def spec_of(made: Estimator) -> str:
    """Write an estimator with all its options, and those of its recipe that are not as usual.

    Example:
        >>> from trainless.estimators import EarlyStopping
        >>> spec_of(EarlyStopping(epochs=8, recipe=Recipe(mirror=True)))
        'early-stopping(epochs=8, patience=3, mirror=yes)'
    """
    given = {name: getattr(made, name) for name in options_of(type(made))}
    if recipe := getattr(made, "recipe", None):
        given |= {name: value for name, value in vars(recipe).items() if value != getattr(Recipe(), name)}
    return f"{made.name}({', '.join(f'{name}={_text(value)}' for name, value in given.items())})"


def parse_estimator(text: str, registry: Mapping[str, type[Estimator]]) -> Estimator:
    """Read an estimator: a name, and options in parentheses, of which the first needs no name.

    Args:
        text: such as ``"reduced(epochs=4, channels=0.5)"`` or ``"zero-cost(nwot)"``. What trains takes the options of a
            `Recipe` too, such as ``mirror=yes``.
        registry: estimators by name.

    Raises:
        UnknownNameError: there is none of that name.
        InputError: it has no such option, an option is named twice, or a value cannot be used.

    Example:
        >>> from trainless.estimators import ESTIMATORS
        >>> str(parse_estimator("full(12, shift=0.125)", ESTIMATORS))
        'full(epochs=12, shift=0.125)'
    """
    found = re.fullmatch(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if not found or found[1] not in registry:
        raise UnknownNameError("estimator", found[1] if found else text.strip(), registry)
    kind = registry[found[1]]
    own = options_of(kind)
    trains = any(each.name == "recipe" for each in _fields(kind))
    known = own | (vars(Recipe()) if trains else {})
    given: dict[str, Any] = {}
    for place, part in enumerate(split_names(found[2] or "")):
        name, value = _pair(part, next(iter(own)) if place == 0 else "")
        if name not in known:
            also = ", or of a recipe" if trains else ""
            raise InputError(
                f"The estimator '{found[1]}' has no option '{name or part}', expected {', '.join(own)}{also}, as in "
                f"{found[1]}({next(iter(own))}={_text(next(iter(own.values())))})."
            )
        if name in given:
            raise InputError(f"The option '{name}' of the estimator '{found[1]}' is given twice: give it once.")
        given[name] = _value(name, value, known[name])
    recipe = {name: given.pop(name) for name in list(given) if name not in own}
    return kind(**given, **({"recipe": Recipe(**recipe)} if recipe else {}))


def _fields(kind: type[Estimator]) -> tuple[Field[Any], ...]:
    return fields(kind)  # type: ignore[arg-type]


def _default(field: Field[Any]) -> Any:
    assert field.default is not MISSING
    return field.default


def _pair(part: str, first: str) -> tuple[str, str]:
    found = re.fullmatch(r"([a-z_]+)\s*=\s*(.*)", part, re.DOTALL)
    return (found[1], found[2]) if found else (first, part)


def _value(name: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return _WORDS[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        kind = {bool: "yes or no", int: "a whole number", float: "a number"}[type(default)]
        raise InputError(f"The option '{name}' is '{text}', expected {kind}, such as {_text(default)}.") from None


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
