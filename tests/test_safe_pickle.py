"""The reader of pickles: against Python's own on honest pickles, and against crafted ones that harm Python's own."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import sys
import tracemalloc
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainless import safe_pickle
from trainless.safe_pickle import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
UINT8 = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tR"

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**300), 2**300), st.floats(allow_nan=False), st.text(), st.binary()
)
keys = (
    st.none() | st.booleans() | st.integers(-(2**32) + 1, 2**32 - 1) | st.floats(allow_nan=False)
    | st.text() | st.binary() | st.tuples(st.text(), st.integers(-(2**31), 2**31 - 1))
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def text(content: str) -> bytes:
    """The operation that puts text on the stack."""
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def peak_memory(stored: bytes, **options: Any) -> int:
    """Bytes that a refused pickle takes at most."""
    tracemalloc.start()
    try:
        with pytest.raises(pickle.UnpicklingError):
            read_pickle(stored, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestPlainValues:
    @given(value=values, protocol=st.sampled_from(PROTOCOLS))
    def test_as_python_reads_them(self, value: Any, protocol: int) -> None:
        stored = pickle.dumps(value, protocol)
        for form in (stored, pickletools.optimize(stored)):
            read = read_pickle(form)
            assert read == value
            assert repr(read) == repr(value)  # True is 1, but not here

    @pytest.mark.parametrize("protocol", [4, 5])
    def test_sets(self, protocol: int) -> None:
        value = [{1, "a", None}, frozenset({(1, 2)}), set()]
        read = read_pickle(pickle.dumps(value, protocol))
        assert read == value
        assert [type(item) for item in read] == [set, frozenset, set]

    def test_not_finite(self) -> None:
        for protocol in PROTOCOLS:
            read = read_pickle(pickle.dumps([float("nan"), float("inf"), -float("inf"), -0.0], protocol))
            assert str(read) == "[nan, inf, -inf, -0.0]"

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_long_values(self, protocol: int) -> None:
        value = {"many": list(range(5000)), "text": "é" * 70_000, "bytes": bytes(range(256)) * 300, "few": b""}
        assert read_pickle(pickle.dumps(value, protocol)) == value

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_ordered_dict_and_what_is_shared(self, protocol: int) -> None:
        shared = [1]
        read = read_pickle(pickle.dumps(OrderedDict(b=shared, a=shared), protocol))
        assert type(read) is dict
        assert list(read.items()) == [("b", [1]), ("a", [1])]
        assert read["a"] is read["b"]

    def test_a_list_that_holds_itself(self) -> None:
        value: list[Any] = [1]
        value.append(value)
        read = read_pickle(pickle.dumps(value))
        assert read[1] is read

    @pytest.mark.parametrize(
        ("stored", "value"),
        [
            (b"(lp0\nS'a\\x80\\n\\'b'\np1\naI01\naI00\naI-7\naL8L\naF1.5\na.", ["a\x80\n'b", True, False, -7, 8, 1.5]),
            (b"\x80\x02](U\x02\xff\x00q\x01T\x01\x00\x00\x00ah\x01\x8a\x01\x80e.", ["\xff\0", "a", "\xff\0", -128]),
            (b"(dS'k'\nVv\\u00e9\ns.", {"k": "vé"}),
            (b"(S'k'\nI1\nd.", {"k": 1}),
        ],
    )  # fmt: skip
    def test_python_2(self, stored: bytes, value: Any) -> None:
        assert pickle.loads(stored, encoding="latin1") == value
        assert read_pickle(stored) == value


class TestArrays:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("code", ["?", "i1", "u2", "<i4", ">i8", "<f2", ">f4", "f8"])
    def test_as_numpy_reads_them(self, code: str, protocol: int) -> None:
        array = np.arange(24).reshape(2, 3, 4).astype(code)
        for stored in (array, np.asfortranarray(array), array[:, ::2], array[:0], array[0, 0, 0, None][0, ...]):
            read = read_pickle(pickle.dumps([stored], protocol))[0]
            np.testing.assert_array_equal(read, stored, strict=isinstance(stored, np.ndarray))

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_scalars(self, protocol: int) -> None:
        value = [np.float64(0.1), np.float32(0.1), np.int64(-5), np.uint8(255), np.bool_(True), np.float64("-inf")]
        read = read_pickle(pickle.dumps(value, protocol))
        assert read == [0.1, 0.10000000149011612, -5, 255, True, -float("inf")]
        assert [type(number) for number in read] == [float, float, int, int, bool, float]

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_the_same_array_twice(self, protocol: int) -> None:
        array = np.arange(3)
        first, second = read_pickle(pickle.dumps((array, array), protocol))
        assert first is second

    def test_names_of_old_numpy(self) -> None:
        stored = pickle.dumps([np.float64(1.5), np.arange(3.0)], 2)
        old = stored.replace(b"numpy._core.", b"numpy.core.")
        assert old != stored
        read = read_pickle(old)
        assert read[0] == 1.5
        assert read[1].tolist() == [0.0, 1.0, 2.0]

    def test_integers_only(self) -> None:
        assert read_pickle(pickle.dumps(np.arange(3)), integers_only=True).tolist() == [0, 1, 2]
        assert read_pickle(pickle.dumps(0.5), integers_only=True) == 0.5
        for value in (np.arange(3.0), np.float64(1), np.array([True])):
            with pytest.raises(pickle.UnpicklingError, match="instead of integers"):
                read_pickle(pickle.dumps(value), integers_only=True)

    @pytest.mark.parametrize(
        "value",
        [
            np.array([1, "text"], object),
            np.array(["text"]),
            np.array([b"bytes"]),
            np.array([1j]),
            np.zeros(2, "i4,f4"),
            np.array(["2026-01-01"], "datetime64[D]"),
            np.longdouble(1),
        ],
    )
    def test_other_types(self, value: Any) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r"instead of numbers|has no content"):
            read_pickle(pickle.dumps(value))


class Malicious:
    """Calls a function when unpickled without restrictions."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class TestNothingRuns:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec, __import__, getattr, open])
    def test_functions(self, tmp_path: Path, function: Any, protocol: int) -> None:
        victim = tmp_path / "victim"
        argument = f"mkdir {victim}" if function is os.system else f"__import__('os').mkdir({str(victim)!r})"
        stored = pickle.dumps([Malicious(function, str(victim) if function is os.mkdir else argument)], protocol)
        with pytest.raises(pickle.UnpicklingError, match=f"asks for .*{function.__name__}"):
            read_pickle(stored)
        assert not victim.exists()

    @pytest.mark.parametrize(
        ("stored", "name"),
        [
            (b"cos\nsystem\n(X\x01\x00\x00\x00atR.", "os.system"),
            (b"cposix\nsystem\n.", "posix.system"),
            (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", "numpy.ndarray.dump"),
            (b"cnumpy\nload\n.", "numpy.load"),
            (b"cnumpy._core.multiarray\nfromfile\n.", "numpy._core.multiarray.fromfile"),
            (b"cthis\nd\n.", "this.d"),
            (b"ctrainless.safe_pickle\nread_pickle\n.", "trainless.safe_pickle.read_pickle"),
        ],
    )
    def test_names(self, stored: bytes, name: str) -> None:
        with pytest.raises(pickle.UnpicklingError, match=f"asks for {name}, which is no plain value or array"):
            read_pickle(stored)
        assert "this" not in sys.modules

    @pytest.mark.parametrize(
        "stored",
        [
            b"(cos\nsystem\no.",
            b"(ios\nsystem\n.",
            b"(icollections\nOrderedDict\n.",
            b"ccollections\nOrderedDict\n)\x81.",
            b"ccollections\nOrderedDict\n)}\x92.",
            b"Pname\n.",
            b"Nq\x00Q.",
            b"\x82\x01.",
            b"\x97.",
            b"K\x012.",
            b"\x8b\x01\x00\x00\x00\x01.",
        ],
    )
    def test_operations_that_data_does_not_need(self, stored: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r"asks for|which plain values never need"):
            read_pickle(stored)

    @pytest.mark.parametrize(
        "target",
        [
            b"cnumpy\nndarray\n",
            b"cnumpy._core.multiarray\n_reconstruct\n",
            b"ccollections\nOrderedDict\n",
            b"ccollections\nOrderedDict\n)R",
            b"X\x01\x00\x00\x00a",
            b"]",
            b"cnumpy._core.numeric\n_frombuffer\n(C\x02ab" + UINT8 + b"K\x02X\x01\x00\x00\x00CtR",
        ],
    )
    @pytest.mark.parametrize("state", [b"}X\x0c\x00\x00\x00__defaults__)s", b"N}X\x01\x00\x00\x00aK\x01s\x86", b")"])
    def test_state_is_set_on_nothing_else(self, target: bytes, state: bytes) -> None:
        before = dict(vars(safe_pickle._scalar)), safe_pickle._scalar.__defaults__
        with pytest.raises(pickle.UnpicklingError, match="damaged at byte"):
            read_pickle(target + state + b"b.")
        assert (dict(vars(safe_pickle._scalar)), safe_pickle._scalar.__defaults__) == before


class TestHostileArguments:
    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (b"(K\x01(M\xe8\x03t" + UINT8 + b"\x89C\x02abt", "reshape"),
            (b"(K\x01(J\xff\xff\xff\xfft" + UINT8 + b"\x89C\x02abt", "shape that is not"),
            (b"(K\x01(\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01t" + UINT8 + b"\x89C\x00t", "shape that is not"),
            (b"(K\x01(X\x01\x00\x00\x00at" + UINT8 + b"\x89C\x02abt", "shape that is not"),
            (b"(K\x01(" + b"K\x01" * 33 + b"t" + UINT8 + b"\x89C\x01at", "shape that is not"),
            (b"(K\x01(K\x02t" + UINT8 + b"\x89Nt", "has no content"),
            (b"(K\x01(K\x02t" + UINT8 + b"\x89](K\x01K\x02et", "has no content"),
            (b"(K\x01(K\x02tX\x02\x00\x00\x00u1\x89C\x02abt", "no attribute"),
            (b"(K\x01(K\x01tcnumpy\ndtype\n(X\x02\x00\x00\x00O8tR\x89C\x08abcdefght", "type .O8 instead of numbers"),
            (b"(K\x01(K\x01tcnumpy\ndtype\n(X\x03\x00\x00\x00u1,tR\x89C\x01at", "type .u1, instead of numbers"),
            (b"(K\x01(K\x01tcnumpy\ndtype\n(]tR\x89C\x01at", "a list stands where a word must"),
            (b"(K\x01t", "damaged"),
        ],
    )
    def test_state_of_an_array(self, state: bytes, reason: str) -> None:
        array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
        with pytest.raises(pickle.UnpicklingError, match=reason):
            read_pickle(array + state + b"b.")

    @pytest.mark.parametrize(
        "stored",
        [
            b"cnumpy._core.multiarray\nscalar\n(" + UINT8 + b"C\x02abtR.",
            b"cnumpy._core.multiarray\nscalar\n(" + UINT8 + b"C\x00tR.",
            b"cnumpy._core.multiarray\nscalar\n(NNtR.",
            b"cnumpy._core.multiarray\nscalar\n)R.",
            b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
            b"c_codecs\nencode\n(]X\x06\x00\x00\x00latin1tR.",
            b"c__builtin__\nbytes\n(J\x00\x00\x00\x7ftR.",
            b"ccollections\nOrderedDict\n(]tR.",
            b"K\x01)R.",
            b"cnumpy\ndtype\nK\x01R.",
            b"cnumpy\ndtype\n(" + b"K\x01" * 9 + b"tR.",
            b"K\x01K\x02\x93.",
            b"]K\x01K\x02s.",
            b"}K\x01a.",
            b"}]K\x01s.",
            b"}(K\x01u.",
            b"\x8f(]\x90.",
            b"T\xfe\xff\xff\xffab.",
            b"X\xff\xff\xff\xffab.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.",
            b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fab.",
            b"\x8c\x01\xff.",
            b"h\x05.",
            b"gx\n.",
            b"I1",
            pytest.param(b"I" + b"9" * 5000 + b"\n.", id="long integer"),
            pytest.param(b"F" + b"x" * 5000 + b"\n.", id="long float"),
            b"e.",
            b"t.",
            b"\x94.",
            b".",
            b"",
        ],
    )  # fmt: skip
    def test_are_refused_in_few_words(self, stored: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError) as caught:
            read_pickle(stored)
        assert 10 < len(str(caught.value)) < 300

    def test_key_of_nested_tuples(self) -> None:
        # Hashing such a key overflows the C stack and ends the process.
        with pytest.raises(pickle.UnpicklingError, match="a key that is neither plain"):
            read_pickle(b"})" + b"\x85" * 500_000 + b"Ns.")

    def test_key_that_takes_forever_to_hash(self) -> None:
        with pytest.raises(pickle.UnpicklingError, match="a key that is neither plain"):
            read_pickle(b"})" + b"q\x00h\x00\x86" * 100 + b"Ns.")

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        "keys",
        [
            [factor * (2**61 - 1) for factor in range(1, 50)],  # all of them have the hash 0
            [("a", factor * (2**61 - 1)) for factor in range(1, 50)],
            [2**32],
            [-(2**32)],
            [("a", -(2**32))],
            [("a", 1.0, 2.0)],  # two floats are enough to make any hash
        ],
    )
    def test_keys_that_can_be_crafted_to_collide(self, keys: list[Any], protocol: int) -> None:
        for value in (dict.fromkeys(keys), set(keys), frozenset(keys)):
            with pytest.raises(pickle.UnpicklingError, match=r"it has a key |asks for"):
                read_pickle(pickle.dumps(value, protocol))

    @pytest.mark.parametrize(
        "place", [b"cnumpy\ndtype\n%b\x85R.", b"c_codecs\nencode\n(X\x01\x00\x00\x00a%btR.", b"%b]\x93."]
    )
    def test_value_that_takes_forever_to_print(self, place: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r"stands where a (word|str) must"):
            read_pickle(place.replace(b"%b", b")" + b"q\x00h\x00\x86" * 100))


class TestMemory:
    def test_number_of_objects(self) -> None:
        stored = b"(" + b"\x8f" * 10_000_000
        assert peak_memory(stored, operations=1000) < 1_000_000
        with pytest.raises(pickle.UnpicklingError, match="it takes more than 1,000 steps"):
            read_pickle(stored, operations=1000)
        assert read_pickle(b"(" + b"]" * 7 + b"t.", operations=10) == ([],) * 7

    def test_index_of_the_memo(self) -> None:
        assert peak_memory(b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.") < 100_000

    def test_claimed_sizes(self) -> None:
        for operation in (
            b"B\xff\xff\xff\x7f",
            b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00",
            b"\x96\x00\x00\x00\x00\x01\x00\x00\x00",
        ):
            assert peak_memory(operation + b"abc.") < 100_000
        array = b"cnumpy._core.numeric\n_frombuffer\n(C\x02ab" + UINT8 + b"J\xff\xff\xff\x7fX\x01\x00\x00\x00CtR."
        assert peak_memory(array) < 100_000

    def test_text_out_of_bytes(self) -> None:
        stored = b"B" + struct.pack("<I", 100_000) + bytes(100_000) + b"q\x00cnumpy\ndtype\nq\x01("
        assert peak_memory(stored + b"h\x01h\x00\x85R" * 1000 + b"t.") < 1_000_000

    def test_bytes_out_of_text(self) -> None:
        stored = text("a" * 100_000) + b"q\x00X\x06\x00\x00\x00latin1q\x01c_codecs\nencode\nq\x02("
        stored += b"h\x02h\x00h\x01\x86R" * 1000 + b"t."
        assert len(pickle.loads(stored)) == 1000
        assert peak_memory(stored) < 1_000_000
        with pytest.raises(pickle.UnpicklingError, match="makes more bytes than it holds"):
            read_pickle(stored)


class TestDamage:
    def test_every_beginning(self) -> None:
        value = {"array": np.arange(3), "scalar": np.float64(2), "list": [1, 2.5, "text", b"bytes", None, True]}
        for protocol in PROTOCOLS:
            stored = pickle.dumps(value, protocol)
            for size in range(len(stored)):
                with pytest.raises(pickle.UnpicklingError):
                    read_pickle(stored[:size])

    @settings(max_examples=500)
    @given(place=st.integers(0, 400), byte=st.integers(0, 255), protocol=st.sampled_from(PROTOCOLS))
    def test_one_changed_byte(self, place: int, byte: int, protocol: int) -> None:
        value = {"array": np.arange(3), "scalar": np.float64(2), "list": [1, 2.5, "text", b"bytes", None, True]}
        stored = bytearray(pickle.dumps(value, protocol))
        stored[place % len(stored)] = byte
        with suppress(pickle.UnpicklingError):
            read_pickle(bytes(stored))

    @settings(max_examples=500)
    @given(
        operations=st.lists(st.sampled_from(sorted(safe_pickle._OPERATIONS)), max_size=40), rest=st.binary(max_size=40)
    )
    def test_any_operations(self, operations: list[int], rest: bytes) -> None:
        with suppress(pickle.UnpicklingError):
            read_pickle(bytes(operations) + rest)
