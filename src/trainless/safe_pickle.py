"""Pickles as data: plain values and NumPy arrays are read, and nothing that a pickle names is imported or called.

Python's own unpickler is not enough even where `find_class` refuses every name: one operation can claim a memo of 64
GiB, a key of nested tuples overflows the C stack, and state that is set on an object reaches NumPy's own
reconstruction. So the operations that data needs are carried out here, each on types that are checked, and there are
no others.
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_pickle"]

_Operation = Callable[["_Reader"], None]

_INTEGERS = frozenset(kind + size for kind in "iu" for size in "1248")
_NUMBERS = _INTEGERS | {"b1", "f2", "f4", "f8"}
# Numbers hash as anyone can foresee: a dict of crafted ones, all with the same hash, takes minutes.
_PARTS = (str, bytes, int, type(None))
_KEYS = (*_PARTS, float)
_KEY_BITS = 32
_KEY_LENGTH = 8  # hashing is not cached for tuples, so keys stay short and flat
_ARGUMENTS = 8  # as many as any of the functions below is ever given
_DIMENSIONS = 32
_WORD_LENGTH = 16
_REASON_LENGTH = 200


def read_pickle(content: bytes, *, integers_only: bool = False, operations: int = 2**20) -> Any:
    """Read a pickle of plain values and NumPy arrays of numbers, of any protocol.

    Plain values are None, booleans, integers up to 255 bytes, floats, text, bytes, lists, tuples, sets (from protocol
    4), and dicts; the keys of dicts and sets are scalars or short flat tuples without floats, and the integers
    among them have up to 32 bits. An ordered dict becomes a dict and a NumPy scalar a Python number. Text of Python 2
    is decoded as latin1, one character a byte.

    Args:
        content: the pickle.
        integers_only: refuse arrays and scalars that are not of integers.
        operations: refuse a pickle of more steps; one makes at most one object, so this bounds the memory.

    Raises:
        pickle.UnpicklingError: the pickle is damaged, asks for anything else, or has too many steps; the message is
            part of a sentence about it.

    Example:
        >>> read_pickle(pickle.dumps({"accuracy": [91.5, np.float64(93.25)]}))
        {'accuracy': [91.5, 93.25]}
        >>> read_pickle(pickle.dumps(print))
        Traceback (most recent call last):
        ...
        _pickle.UnpicklingError: it asks for builtins.print, which is no plain value or array
    """
    reader = _Reader(content, _INTEGERS if integers_only else _NUMBERS)
    try:
        return reader.read(operations)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error)[:_REASON_LENGTH] or type(error).__name__
        raise pickle.UnpicklingError(f"it is damaged at byte {reader.at}: {reason}") from error


@dataclass
class _Dtype:
    code: str
    order: str = "|"


@dataclass
class _Array:
    """Stands where an array's state is still to come."""

    value: NDArray[Any] | None = None


class _Reader:
    def __init__(self, content: bytes, types: frozenset[str]) -> None:
        self.content, self.types, self.at = content, types, 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}
        self.encodable = len(content)

    def read(self, operations: int) -> Any:
        content, table = self.content, _OPERATIONS
        for _ in range(operations):
            code = content[self.at]
            self.at += 1
            if (operation := table.get(code)) is None:
                return self.end(code)
            operation(self)
        raise pickle.UnpicklingError(f"it takes more than {operations:,} steps")

    def end(self, code: int) -> Any:
        if code != pickle.STOP[0]:
            raise pickle.UnpicklingError(f"it has the operation {bytes([code])!r}, which plain values never need")
        return self.stack.pop()

    def take(self, size: int) -> bytes:
        start = self.at
        self.at += size
        if self.at > len(self.content):
            raise EOFError("it ends too early")
        return self.content[start : self.at]

    def line(self) -> bytes:
        return self.take(self.content.index(b"\n", self.at) + 1 - self.at)[:-1]

    def marked(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"a {type(self.stack[-1]).__name__} stands where a {kind.__name__} must")
        return self.stack[-1]

    def pop(self, kind: type) -> Any:
        value = self.top(kind)
        self.stack.pop()
        return value

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        value = self.memo[key]
        self.stack.append(value.value if type(value) is _Array and value.value is not None else value)

    def encode(self, text: str) -> bytes:
        # An honest pickle encodes what it holds once; a crafted one could do so again and again.
        self.encodable -= len(text)
        if self.encodable < 0:
            raise pickle.UnpicklingError("it makes more bytes than it holds")
        return text.encode("latin1")


# What a pickle may name, and what is done instead. Never format or hash a value of unknown type: a few crafted tuples
# print as gigabytes, or end the process.


def _encode(reader: _Reader, text: Any, encoding: Any) -> bytes:
    if _word(encoding) != "latin1":
        raise pickle.UnpicklingError("it asks for an encoding other than latin1")
    return reader.encode(text)


def _dtype(reader: _Reader, code: Any, *_: Any) -> _Dtype:
    return _Dtype(_word(code))


def _array(reader: _Reader, shape: Any, dtype: _Dtype, is_fortran: Any, buffer: Any) -> NDArray[Any]:
    content = reader.encode(buffer) if isinstance(buffer, str) else buffer
    if not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("an array has no content")
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if len(sizes) > _DIMENSIONS or not all(isinstance(size, int) and 0 <= size < 2**63 for size in sizes):
        raise pickle.UnpicklingError(f"an array has a shape that is not up to {_DIMENSIONS} sizes")
    values = np.frombuffer(content, _numpy_type(reader, dtype))
    return values.reshape(sizes, order="F" if is_fortran else "C")


def _array_from_buffer(reader: _Reader, buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> NDArray[Any]:
    return _array(reader, shape, dtype, order == "F", buffer)


def _scalar(reader: _Reader, dtype: Any, buffer: Any) -> bool | int | float:
    number: bool | int | float = _array(reader, (1,), dtype, False, buffer)[0].item()
    return number


def _numpy_type(reader: _Reader, dtype: _Dtype) -> np.dtype[Any]:
    code, order = dtype.code, dtype.order
    if code not in reader.types or order not in ("|", "=", "<", ">"):
        expected = "integers" if reader.types == _INTEGERS else "numbers"
        raise pickle.UnpicklingError(f"its arrays are of type {order}{code} instead of {expected}")
    kind: np.dtype[Any] = np.dtype(order + code)
    return kind


_GLOBALS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,  # how old protocols make bytes
    ("__builtin__", "bytes"): lambda reader: b"",
    ("collections", "OrderedDict"): lambda reader: {},
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): lambda reader: None,  # only ever an argument of the next
    ("numpy._core.multiarray", "_reconstruct"): lambda reader, *_: _Array(),
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
}


@dataclass(frozen=True)
class _Global:
    module: str
    name: str


def _push_global(reader: _Reader, module: str, name: str) -> None:
    module = module.replace("numpy.core.", "numpy._core.")  # its name until NumPy 2
    if (module, name) not in _GLOBALS:
        asked = f"{module}.{name}"[:_REASON_LENGTH]
        raise pickle.UnpicklingError(f"it asks for {asked}, which is no plain value or array")
    reader.stack.append(_Global(module, name))


def _global_by_lines(reader: _Reader) -> None:
    _push_global(reader, _utf8(reader.line()), _utf8(reader.line()))


def _global_by_stack(reader: _Reader) -> None:
    name = reader.pop(str)
    _push_global(reader, reader.pop(str), name)


def _reduce(reader: _Reader) -> None:
    arguments, called = reader.pop(tuple), reader.pop(_Global)
    if len(arguments) > _ARGUMENTS:
        raise pickle.UnpicklingError(f"it gives {called.name} {len(arguments):,} arguments")
    reader.stack.append(_GLOBALS[called.module, called.name](reader, *arguments))


def _build(reader: _Reader) -> None:
    state = reader.pop(tuple)
    if type(reader.stack[-1]) is _Dtype:
        reader.stack[-1].order = _word(state[1])
    else:
        array = reader.top(_Array)
        array.value = reader.stack[-1] = _array(reader, *state[1:5])


# The operations, each from its bytes to the stack.


def _constant(make: Callable[[], Any]) -> _Operation:
    return lambda reader: reader.stack.append(make())


def _packed(form: str) -> _Operation:
    fixed = struct.Struct(form)

    def operation(reader: _Reader) -> None:
        reader.stack.append(fixed.unpack_from(reader.content, reader.at)[0])
        reader.at += fixed.size

    return operation


def _sized(form: str, convert: Callable[[bytes], Any]) -> _Operation:
    size = struct.Struct(form)

    def operation(reader: _Reader) -> None:
        (length,) = size.unpack_from(reader.content, reader.at)
        reader.at += size.size
        reader.stack.append(convert(reader.take(length)))

    return operation


def _skip(size: int) -> _Operation:
    def operation(reader: _Reader) -> None:
        reader.at += size

    return operation


def _lined(convert: Callable[[bytes], Any]) -> _Operation:
    return lambda reader: reader.stack.append(convert(reader.line()))


def _indexed(act: Callable[[_Reader, int], None], form: str) -> _Operation:
    fixed = struct.Struct(form)

    def operation(reader: _Reader) -> None:
        (key,) = fixed.unpack_from(reader.content, reader.at)
        reader.at += fixed.size
        act(reader, key)

    return operation


def _tuple_of(count: int) -> _Operation:
    def operation(reader: _Reader) -> None:
        items = [reader.stack.pop() for _ in range(count)]
        reader.stack.append(tuple(reversed(items)))

    return operation


def _collected(convert: Callable[[list[Any]], Any]) -> _Operation:
    def operation(reader: _Reader) -> None:
        items = reader.marked()
        reader.stack.append(convert(items))

    return operation


def _mark(reader: _Reader) -> None:
    reader.outer.append(reader.stack)
    reader.stack = []


def _append(reader: _Reader) -> None:
    item = reader.stack.pop()
    reader.top(list).append(item)


def _append_all(reader: _Reader) -> None:
    items = reader.marked()
    reader.top(list).extend(items)


def _add_all(reader: _Reader) -> None:
    items = map(_key, reader.marked())
    reader.top(set).update(items)


def _set_item(reader: _Reader) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.top(dict)[_key(key)] = value


def _set_all(reader: _Reader) -> None:
    pairs = _pairs(reader.marked())
    reader.top(dict).update(pairs)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))


def _key(value: Any) -> Any:
    parts, kinds = (value, _PARTS) if isinstance(value, tuple) else ((value,), _KEYS)
    if len(parts) > _KEY_LENGTH or not all(isinstance(part, kinds) for part in parts):
        raise pickle.UnpicklingError(
            f"it has a key that is neither plain nor a flat tuple of up to {_KEY_LENGTH} without floats"
        )
    if any(isinstance(part, int) and part.bit_length() > _KEY_BITS for part in parts):
        raise pickle.UnpicklingError(f"it has a key with an integer of more than {_KEY_BITS} bits")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str | bytes) or len(value) > _WORD_LENGTH:
        raise TypeError(f"a {type(value).__name__} stands where a word must")
    return value.decode("latin1") if isinstance(value, bytes) else value


def _utf8(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _latin1(content: bytes) -> str:
    return content.decode("latin1")


def _integer(content: bytes) -> int:
    return int.from_bytes(content, "little", signed=True)


def _integer_or_boolean(line: bytes) -> int:
    return line == b"01" if line in (b"00", b"01") else int(line)


def _quoted(line: bytes) -> str:
    return _latin1(codecs.escape_decode(line[1:-1])[0])


_OPERATIONS: Mapping[int, _Operation] = {
    code[0]: operation
    for code, operation in {
        pickle.PROTO: _skip(1),
        pickle.FRAME: _skip(8),
        pickle.MARK: _mark,
        pickle.NONE: _constant(lambda: None),
        pickle.NEWTRUE: _constant(lambda: True),
        pickle.NEWFALSE: _constant(lambda: False),
        pickle.INT: _lined(_integer_or_boolean),
        pickle.BININT: _packed("<i"),
        pickle.BININT1: _packed("<B"),
        pickle.BININT2: _packed("<H"),
        pickle.LONG: _lined(lambda line: int(line.removesuffix(b"L"))),
        pickle.LONG1: _sized("<B", _integer),
        pickle.FLOAT: _lined(float),
        pickle.BINFLOAT: _packed(">d"),
        pickle.STRING: _lined(_quoted),
        pickle.SHORT_BINSTRING: _sized("<B", _latin1),
        pickle.BINSTRING: _sized("<I", _latin1),
        pickle.UNICODE: _lined(lambda line: line.decode("raw-unicode-escape")),
        pickle.SHORT_BINUNICODE: _sized("<B", _utf8),
        pickle.BINUNICODE: _sized("<I", _utf8),
        pickle.BINUNICODE8: _sized("<Q", _utf8),
        pickle.SHORT_BINBYTES: _sized("<B", bytes),
        pickle.BINBYTES: _sized("<I", bytes),
        pickle.BINBYTES8: _sized("<Q", bytes),
        pickle.BYTEARRAY8: _sized("<Q", bytearray),
        pickle.EMPTY_LIST: _constant(list),
        pickle.LIST: _collected(list),
        pickle.APPEND: _append,
        pickle.APPENDS: _append_all,
        pickle.EMPTY_TUPLE: _constant(tuple),
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.TUPLE: _collected(tuple),
        pickle.EMPTY_DICT: _constant(dict),
        pickle.DICT: _collected(_pairs),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: _set_all,
        pickle.EMPTY_SET: _constant(set),
        pickle.ADDITEMS: _add_all,
        pickle.FROZENSET: _collected(lambda items: frozenset(map(_key, items))),
        pickle.PUT: lambda reader: reader.remember(int(reader.line())),
        pickle.BINPUT: _indexed(_Reader.remember, "<B"),
        pickle.LONG_BINPUT: _indexed(_Reader.remember, "<I"),
        pickle.MEMOIZE: lambda reader: reader.remember(len(reader.memo)),
        pickle.GET: lambda reader: reader.recall(int(reader.line())),
        pickle.BINGET: _indexed(_Reader.recall, "<B"),
        pickle.LONG_BINGET: _indexed(_Reader.recall, "<I"),
        pickle.GLOBAL: _global_by_lines,
        pickle.STACK_GLOBAL: _global_by_stack,
        pickle.REDUCE: _reduce,
        pickle.BUILD: _build,
    }.items()
}
