"""What pickles ask for, read off their opcodes and never run."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isologit.checkpoint.pickle_globals import wants


class Asks:
    """An object that is made by calling something."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._call, self._arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call, self._arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_named_in_every_protocol(protocol: int) -> None:
    raw = pickle.dumps([1, {"a": Asks(os.system, "true")}], protocol)
    asked = wants(memoryview(raw))
    assert asked.harmful == (f"{os.system.__module__}.system",)
    assert asked.protocol == (protocol if protocol >= 2 else 0)
    assert asked.end == len(raw)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_ask_for_nothing(protocol: int) -> None:
    value = OrderedDict(a=[1, 2.5, None, True, "text", b"bytes"], b=({"c": {1, 2}}, 1 + 2j))
    assert wants(memoryview(pickle.dumps(value, protocol))).harmful == ()


@pytest.mark.parametrize(
    ("name", "is_harmless"),
    [
        ("torch._utils _rebuild_tensor_v2", True),
        ("torch._utils _rebuild_parameter", True),
        ("torch FloatStorage", True),
        ("torch.cuda HalfStorage", True),
        ("torch.storage UntypedStorage", True),
        ("torch float8_e4m3fn", True),
        ("torch bfloat16", True),
        ("torch Size", True),
        ("__builtin__ set", True),
        ("torch load", False),
        ("torch float_power", False),
        ("torch.hub load", False),
        ("torch._utils rebuild", False),
        ("torch._utils _rebuild_tensor_v2.__globals__", False),
        ("torch.storage UntypedStorage.from_file", False),
        ("builtins eval", False),
        ("builtins getattr", False),
        ("collections OrderedDict.fromkeys", False),
        ("numpy.core.multiarray scalar", False),
        ("argparse Namespace", False),
        ("os system", False),
    ],
)
def test_a_global_is_harmless_by_its_whole_name(name: str, is_harmless: bool) -> None:
    asked = wants(memoryview(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n."))
    assert asked.harmful == (() if is_harmless else (name.replace(" ", "."),))


def test_each_global_is_named_once_in_its_order() -> None:
    raw = pickle.dumps([np.float64(1), Asks(os.getcwd), np.float64(2)], 2)
    names = wants(memoryview(raw)).harmful
    assert [name.rpartition(".")[2] for name in names] == ["scalar", "dtype", "getcwd"]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"(ios\nsystem\n.", "os.system"),
        (b"\x80\x02\x82\x07.", "extension 7"),
        (b"\x80\x02\x84\x01\x02\x03\x04.", "extension 67305985"),
    ],
)
def test_a_class_is_named_however_it_is_asked_for(raw: bytes, name: str) -> None:
    assert wants(memoryview(raw)).harmful == (name,)


def test_what_a_pickle_asked_for_before_it_breaks_off_is_named() -> None:
    raw = pickle.dumps([Asks(os.getcwd), "text " * 100], 2)
    assert wants(memoryview(raw[:-50])).harmful == ("posix.getcwd",) or os.name == "nt"


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x80\x02", b"\x80\x02]", b"\xff.", b"c\nno end"])
def test_what_is_no_pickle_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        wants(memoryview(raw))


def test_a_string_with_a_bad_escape_raises_no_warning() -> None:
    assert wants(memoryview(b"S'\\d'\n.")).strings == 1


def test_a_pickle_ends_where_it_ends() -> None:
    raw = pickle.dumps("a", 2)
    asked = wants(memoryview(raw + pickle.dumps(Asks(os.getcwd), 2)))
    assert (asked.end, asked.harmful) == (len(raw), ())
