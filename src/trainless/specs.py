"""One grammar for what is looked up by name: ``name(option=value, ...)``, read and written here alone.

A bare name has no options set; the first option needs no name, so ``full(8)`` is ``full(epochs=8)``. A value is text, a
number, yes or no, or a spec of its own, as in ``surrogate(base=full(epochs=8))``. What cannot stand bare, such as the
name of a file with a comma in it, is a JSON string.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from trainless.errors import InputError, UnknownNameError

__all__ = [
    "Spec", "look_up", "options_of", "parse_spec", "read_options", "refuse_options", "spec_of", "split_names",
    "write_spec",
]  # fmt: skip

Made = TypeVar("Made")
Maker = Callable[..., Any]

_WORDS = {"yes": True, "true": True, "no": False, "false": False}
_EXPECTED: dict[type, str] = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
_ARGUMENT = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Spec(NamedTuple):
    """A name with options, as it was written.

    Args:
        name: all before the parentheses.
        arguments: names of options with their values as text; the name is empty where none was given.

    Example:
        >>> parse_spec("reduced(4, channels=0.5)")
        Spec(name='reduced', arguments=(('', '4'), ('channels', '0.5')))
    """

    name: str
    arguments: tuple[tuple[str, str], ...] = ()


def parse_spec(text: str) -> Spec:
    """Read a name with options in parentheses, whatever they mean.

    Raises:
        InputError: a parenthesis or a quotation mark has no other.

    Example:
        >>> parse_spec("log-rank(flops, nwot)").arguments
        (('', 'flops'), ('', 'nwot'))
    """
    text = text.strip()
    opened, depth = len(text), 0
    for position, letter in enumerate(_bare(text)):
        if letter == "(" and not depth:
            opened = position
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
    if depth:
        raise InputError(f"'{text}' has a parenthesis without its other, expected the form name(option=value, ...).")
    if not text.endswith(")"):
        return Spec(text)
    parts = [_ARGUMENT.fullmatch(part) or part for part in split_names(text[opened + 1 : -1])]
    arguments = [("", part) if isinstance(part, str) else (part[1], part[2]) for part in parts]
    return Spec(text[:opened].strip(), tuple((name, _unwrapped(value)) for name, value in arguments))


def write_spec(name: str, options: Mapping[str, Any]) -> str:
    """Write a name with options, so that it is read as the same.

    Example:
        >>> write_spec("full", {"epochs": 8, "mirror": True}), write_spec("random", {})
        ('full(epochs=8, mirror=yes)', 'random')
    """
    written = ", ".join(f"{option}={_written(value)}" for option, value in options.items())
    return f"{name}({written})" if options else name


def split_names(text: str) -> list[str]:
    """Split names at commas that stand outside parentheses and quotation marks.

    Example:
        >>> split_names("nwot, log-rank(flops, nwot), full")
        ['nwot', 'log-rank(flops, nwot)', 'full']
    """
    depth, ends = 0, [-1]
    for position, letter in enumerate(_bare(text)):
        depth = max(0, depth + (letter == "(") - (letter == ")"))
        if letter == "," and not depth:
            ends.append(position)
    parts = [text[start + 1 : end].strip() for start, end in zip(ends, [*ends[1:], len(text)], strict=True)]
    return [part for part in parts if part]


def look_up(
    kind: str,
    text: str,
    registry: Mapping[str, Callable[..., Made]],
    options: Mapping[str, Any] | None = None,
    context: Collection[str] = (),
) -> partial[Made]:
    """Find what makes a thing, with its options set.

    The options are the parameters of the maker that have a default, whose type says how text is read. Where a default
    is a dataclass, such as a training's recipe, its fields are options too.

    Args:
        kind: what is looked up, for messages.
        text: a name of the registry, with options in parentheses.
        registry: makers by name.
        options: further options, as values.
        context: parameters of the maker that are no options, but decided by the caller.

    Raises:
        UnknownNameError: there is none of that name.
        InputError: it has no such option, an option is given twice, or its value cannot be read.

    Example:
        >>> look_up("fit", "line(degree=2)", {"line": lambda degree=1: degree})()
        2
        >>> look_up("fit", "line(order=2)", {"line": lambda degree=1: degree})
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The fit 'line' has no option 'order', expected one of degree, as in line(degree=1).
    """
    spec, given = parse_spec(str(text)), dict(options or {})
    if spec.name not in registry:
        raise UnknownNameError(kind, spec.name, registry)
    maker = registry[spec.name]
    own, groups = options_of(maker, context), _groups(maker, context)
    values = read_options(kind, spec, own, groups)
    for option in given:
        if option not in _parameters(maker, context):
            raise _unknown(kind, spec.name, option, own, groups)
        if option in values:
            raise _twice(kind, spec.name, option)
    given |= {name: value for name, value in values.items() if name in own}
    for name, group in groups.items():
        if chosen := {field: values[field] for field in vars(group) if field in values and field not in own}:
            given[name] = replace(given.get(name, group), **chosen)
    return partial(maker, **given)


def read_options(
    kind: str, spec: Spec, known: Mapping[str, Any], groups: Mapping[str, Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Read the options of a spec by the types of those that are known.

    Args:
        kind: what has the options, for messages.
        spec: a name with options.
        known: for each option a value of its type, which messages give as an example; the first needs no name.
        groups: by name dataclasses whose fields are options too, but for those that have the name of a known one.

    Raises:
        InputError: there is no such option, an option is given twice, or its value cannot be read.

    Example:
        >>> read_options("data set", parse_spec("digits(image_size=16)"), {"image_size": 32})
        {'image_size': 16}
    """
    values: dict[str, Any] = {}
    examples = {name: value for group in (groups or {}).values() for name, value in vars(group).items()} | dict(known)
    for number, (option, value) in enumerate(spec.arguments):
        name = option or (next(iter(known), "") if number == 0 else "")
        if name not in examples:
            raise _unknown(kind, spec.name, name or value, known, groups or {})
        if name in values:
            raise _twice(kind, spec.name, name)
        values[name] = _read(spec.name, name, value, examples[name])
    return values


def options_of(maker: Maker, context: Collection[str] = ()) -> dict[str, Any]:
    """Give the options of what makes a thing, with their defaults; those of a dataclass among them are left out.

    Example:
        >>> options_of(lambda space, channels=16, cells=5: None)
        {'channels': 16, 'cells': 5}
    """
    return {name: default for name, default in _parameters(maker, context).items() if type(default) in _EXPECTED}


def spec_of(thing: Any, context: Collection[str] = (), *, usual: bool = True) -> str:
    """Write a thing that has a ``name`` and its options as attributes, so that it is made again from the text.

    Args:
        thing: what is written.
        context: parameters that are no options.
        usual: write options that are as usual too, but for limits that there are not; those of a dataclass among them
            never are.

    Raises:
        InputError: there is no attribute of an option's name.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> spec_of(search_space("nasbench201", cells=1)), spec_of(search_space("nasbench201", cells=1), usual=False)
        ('nasbench201(channels=16, cells=1)', 'nasbench201(cells=1)')
    """
    own, groups = options_of(type(thing), context), _groups(type(thing), context)
    if unknown := [name for name in (*own, *groups) if not hasattr(thing, name)]:
        raise InputError(
            f"'{thing.name}' has no attribute that tells its option '{unknown[0]}': set self.{unknown[0]}."
        )
    # That there is no limit says nothing.
    options = {
        name: value for name, default in own.items()
        if (value := getattr(thing, name)) != default or (usual and default != math.inf)
    }  # fmt: skip
    for name, default in groups.items():
        group = getattr(thing, name)
        options |= {name: value for name, value in vars(group).items() if value != getattr(default, name)}
    return write_spec(thing.name, options)


def refuse_options(kind: str, options: Collection[str]) -> None:
    """Refuse options beside an object, which has its own.

    Raises:
        InputError: there are any.

    Example:
        >>> refuse_options("strategy", {})
    """
    if options:
        raise InputError(f"The {kind} is an object, so {', '.join(options)} cannot be set: set it there.")


def _parameters(maker: Maker, context: Collection[str]) -> dict[str, Any]:
    parameters = inspect.signature(maker).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in context}


def _groups(maker: Maker, context: Collection[str]) -> dict[str, Any]:
    """The parameters whose defaults are dataclasses, the fields of which are options too."""
    found = _parameters(maker, context).items()
    return {name: default for name, default in found if is_dataclass(default) and not isinstance(default, type)}


def _unknown(
    kind: str, name: str, option: str, known: Mapping[str, Any], groups: Collection[str]
) -> InputError:  # fmt: skip
    if not known:
        return InputError(f"The {kind} '{name}' has no option '{option}', for it has none: write {name}.")
    example = write_spec(name, dict([next(iter(known.items()))]))
    also = "".join(f", or of a {group}" for group in groups)
    return InputError(
        f"The {kind} '{name}' has no option '{option}', expected one of {', '.join(known)}{also}, as in {example}."
    )


def _twice(kind: str, name: str, option: str) -> InputError:
    return InputError(f"The option '{option}' of the {kind} '{name}' is given twice: give it once.")


def _read(name: str, option: str, text: str, example: Any) -> Any:
    try:
        return _WORDS[text.lower()] if isinstance(example, bool) else type(example)(text)
    except (KeyError, ValueError):
        raise InputError(
            f"The option '{option}' is '{text}', expected {_EXPECTED[type(example)]}, such as {_written(example)}, as "
            f"in {write_spec(name, {option: example})}."
        ) from None


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    stands_bare = text == text.strip() and '"' not in text and split_names(text) == [text] and _is_balanced(text)
    return text if stands_bare else json.dumps(text, ensure_ascii=False)


def _unwrapped(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        raise InputError(f'The value {text} is no text in quotation marks, expected such as "a, b".') from None


def _is_balanced(text: str) -> bool:
    try:
        return bool(parse_spec(text))
    except InputError:
        return False


def _bare(text: str) -> str:
    """The text with all that stands in quotation marks blotted out, which moves nothing.

    Raises:
        InputError: a quotation mark has no other.
    """
    bare = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text)
    if '"' in bare:
        raise InputError(f"'{text}' has a quotation mark without its other: give both.")
    return bare
