"""Widening binary16 to binary32, where the machine has an instruction for it and where not.

Without one, LLVM calls a function that numba does not provide, and the process crashes: on CPUs
before 2012, and in virtual machines whose CPU is a generic one.
"""

import platform
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import config

from isologit.numerics.compilation import keep_machine_code

keep_machine_code()

_INTEGER = ir.IntType(32)
_SINGLE = ir.FloatType()
_MAGNITUDE = 0x7FFF
_INFINITY = 0x7C00
_INFINITY_SINGLE = 0x7F800000


def _has_instruction() -> bool:
    """Say whether the CPU that numba compiles for surely has it; every 64-bit ARM does."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
    return config.CPU_NAME is None and bool(llvm.get_host_cpu_features().get("f16c"))


HAS_INSTRUCTION = _has_instruction()


def widen_halves(builder: Any, words: Any) -> Any:
    """Return the binary32 values of 16-bit words, exactly; of one word or of a vector of them."""
    if HAS_INSTRUCTION:
        half = _like(words.type, ir.HalfType())
        return builder.fpext(builder.bitcast(words, half), _like(words.type, _SINGLE))
    integers, singles = _like(words.type, _INTEGER), _like(words.type, _SINGLE)

    def constant(kind: ir.Type, value: float) -> ir.Constant:
        count = getattr(kind, "count", None)
        return ir.Constant(kind, value if count is None else [value] * count)

    wide = builder.zext(words, integers)
    magnitude = builder.and_(wide, constant(integers, _MAGNITUDE))
    sign = builder.shl(builder.xor(wide, magnitude), constant(integers, 16))
    # The fields stand where binary32 has them, with an exponent too small by 127 - 15. An f16
    # subnormal is a binary32 subnormal by now, so one exact multiplication mends every number.
    shifted = builder.shl(magnitude, constant(integers, 13))
    scaled = builder.fmul(builder.bitcast(shifted, singles), constant(singles, 2.0**112))
    special = builder.icmp_unsigned(">=", magnitude, constant(integers, _INFINITY))
    bits = builder.select(
        special,
        builder.or_(shifted, constant(integers, _INFINITY_SINGLE)),
        builder.bitcast(scaled, integers),
    )
    return builder.bitcast(builder.or_(bits, sign), singles)


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of one element, or of as many as a vector has."""
    count = getattr(kind, "count", None)
    return element if count is None else ir.VectorType(element, count)
