"""binary16 without the machine's instruction for it: every word, alone and sixteen at a time."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pytest
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from isologit.numerics import halves, lanes

EVERY_WORD = np.arange(65536, dtype=np.uint16)


@intrinsic  # type: ignore[untyped-decorator]
def _widen_one(_typing_context: Any, word: Any) -> Any:  # pragma: no cover - compiled
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return halves.widen_halves(builder, args[0])

    return types.float32(word), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _widen_some(
    _typing_context: Any, words: Any, start: Any, out: Any
) -> Any:  # pragma: no cover - compiled
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (
            builder.gep(
                context.make_array(signature.args[n])(context, builder, args[n]).data, [args[1]]
            )
            for n in (0, 2)
        )
        loaded = lanes.load(builder, source, ir.VectorType(lanes.I16, lanes.LANES), 2)
        target = builder.bitcast(target, lanes.SINGLES.as_pointer())
        builder.store(halves.widen_halves(builder, loaded), target).align = 4
        return context.get_dummy_value()

    return types.void(words, start, out), codegen


@pytest.fixture(params=[True, False], ids=["as here", "without"])
def _instruction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(halves, "HAS_INSTRUCTION", False)


def expected() -> npt.NDArray[np.float32]:
    with np.errstate(invalid="ignore"):
        return EVERY_WORD.view(np.float16).astype(np.float32)


def assert_same(found: npt.NDArray[np.float32]) -> None:
    number = ~np.isnan(expected())
    assert np.isnan(found[~number]).all()
    assert (found[number].view(np.uint32) == expected()[number].view(np.uint32)).all()


@pytest.mark.usefixtures("_instruction")
def test_every_word_alone() -> None:
    @numba.njit
    def fill(words, out):  # type: ignore[no-untyped-def]
        for n in range(len(words)):
            out[n] = _widen_one(words[n])

    out = np.empty(65536, dtype=np.float32)
    fill(EVERY_WORD, out)
    assert_same(out)


@pytest.mark.usefixtures("_instruction")
def test_every_word_in_a_vector() -> None:
    @numba.njit
    def fill(words, out):  # type: ignore[no-untyped-def]
        for start in range(0, len(words), 16):
            _widen_some(words, start, out)

    out = np.empty(65536, dtype=np.float32)
    fill(EVERY_WORD, out)
    assert_same(out)


def test_logits_of_f16_rows_on_a_cpu_of_before_the_instruction(tmp_path: Path) -> None:
    """Such a CPU has no fused multiply-add either: the bounds count on none."""
    script = (
        "import numpy as np\n"
        "from isologit.numerics.exact import logits\n"
        "from isologit.numerics.formats import BF16, F16\n"
        "from isologit.numerics.stored import Matrix, Vector\n"
        "rng = np.random.default_rng(16)\n"
        "W = Matrix.of_values(rng.standard_normal((300, 77)), F16)\n"
        "h = Vector.of_values(rng.standard_normal(77), F16)\n"
        "print([logits(W, h, to).values.tobytes().hex() for to in (BF16, F16)])\n"
    )
    found = []
    for n, settings in enumerate(({}, {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""})):
        if settings and platform.machine() not in ("x86_64", "AMD64"):
            pytest.skip("the CPU named is an x86 one")
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / str(n)), **settings}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr[-2000:]
        found.append(run.stdout)
    assert found[0] == found[1]
