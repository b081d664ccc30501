"""The hostile corpus, each case refused for its reason, in bounded time and memory.

All of them are opened in one fresh process, each in a fork of it, so that none finds what another
left. Run as a script this file is that process, and prints a line of JSON for each case:

    PYTHONPATH=src:tests python tests/hostile/test_corpus.py FOLDER [NAME ...]
"""

import contextlib
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

import gguf_files as write
from hostile.corpus import (
    CASES,
    INDEX,
    TERABYTES,
    Hostile,
    entry,
    gguf_file,
    good,
    index,
    many,
    safetensors,
)
from isologit.checkpoint.head import locate_head
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.safetensors import MAX_HEADER_BYTES

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="memory is told by /proc, and the process is forked"
)

# Far beyond what any takes, where the machine is busy with something else.
LOOSE_SECONDS = 20
_HANGS_AFTER = 60
# `tracemalloc` makes what takes longer several times as slow; and the other measure, taken every
# half a millisecond, misses nothing that lasts as long as it takes to fill 50 MB.
_TRACED_SECONDS = 0.15

# Returns the class of an error and its message, or None and anything.
Work = Callable[[], tuple[str | None, str]]


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Parameters
    ----------
    error
        The class of what was raised; None where nothing was.
    message
        What it said, or what was found.
    cpu_seconds, wall_seconds
        Of the call alone.
    slowness
        How many times as long as on the machine of docs/hostile-files.md the same work of the
        standard library's took here, beside the case; 1 where it is as fast, or was not asked.
    resident
        Bytes of memory of its own that the process had more than before, at the most, whoever asked
        the system for them. Pages of mapped files do not count: the system may take them back.
    traced
        Bytes that Python and NumPy had, at the most, by `tracemalloc`; 0 where that was not asked.
    """

    error: str | None
    message: str
    cpu_seconds: float
    wall_seconds: float
    resident: int
    traced: int
    slowness: float = 1


def opened(path: Path) -> tuple[str | None, str]:
    """Open a checkpoint and locate its head; return the class of the error and its message."""
    try:
        head = locate_head(open_checkpoint(path))
    except Exception as error:
        return type(error).__name__, str(error)
    return None, head.tensor


def measured(work: Work, *, trace: bool = False) -> Outcome:
    """Do some work in a fork and measure it from outside."""
    answer, question = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            signal.alarm(_HANGS_AFTER)
            os.read(question[0], 1)
            if trace:
                tracemalloc.start()
            cpu, wall = time.process_time(), time.perf_counter()
            said = work()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            traced = tracemalloc.get_traced_memory()[1]
            os.write(answer[1], json.dumps([*said, *spent, traced]).encode())
        os._exit(0)
    before = highest = resident(child)
    os.write(question[1], b"!")
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        highest = max(highest, resident(child))
        time.sleep(0.0005)
    os.close(answer[1])
    with os.fdopen(answer[0], "rb") as pipe:
        raw = pipe.read()
    for descriptor in question:
        os.close(descriptor)
    if not raw:
        return Outcome("the process died", "", 1e9, 1e9, highest - before, 0)
    error, message, cpu, wall, traced = json.loads(raw)
    return Outcome(error, message, cpu, wall, highest - before, traced)


def resident(process: int) -> int:
    """Return the bytes of memory that are a process's own, and no file's."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024
    return 0  # it has ended


def made(case: Hostile, folder: Path) -> Path:
    """Make a case in a fork, which takes the memory for it along, and return its path."""
    answer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(answer[1], str(case.make(folder)).encode())
        os._exit(0)
    os.close(answer[1])
    with os.fdopen(answer[0], "rb") as pipe:
        path = pipe.read().decode()
    os.waitpid(child, 0)
    assert path, f"{case.name} could not be made"
    return Path(path)


def tried(case: Hostile, folder: Path) -> Outcome:
    """Make a case, open it, and remove it."""
    folder.mkdir()
    path = made(case, folder)
    outcome = measured(lambda: opened(path))
    for _ in range(8):  # the machine may be busy with others' work, which shares its caches
        if outcome.cpu_seconds < case.seconds * outcome.slowness:
            break
        slowness = max(1, float(measured(_reference).message) / _REFERENCE_SECONDS)
        outcome = replace(measured(lambda: opened(path)), slowness=slowness)
    if outcome.cpu_seconds < _TRACED_SECONDS:
        again = measured(lambda: opened(path), trace=True)
        assert (again.error, again.message) == (outcome.error, outcome.message)
        outcome = replace(outcome, traced=again.traced)
    shutil.rmtree(folder)
    return outcome


# Seconds of processor time that `_reference` takes where the bounds of a second were set; a slower
# machine has them in proportion, so that a test of time is one of a ratio.
_REFERENCE_SECONDS = 0.16
_DESCRIPTION = '"dtype":"F32","shape":[2,2],"data_offsets":[%d,%d]'


def _reference() -> tuple[None, str]:
    """Parse a header twice with the standard library, which is what most of the work is like.

    All of it is made in the fork: memory that the process had and gave back would change what is
    measured after. Returns the seconds.
    """
    each = (f'"model.layers.{n}.weight":{{{_DESCRIPTION % (n, n + 16)}}}' for n in range(60_000))
    header = f"{{{','.join(each)}}}"
    begin = time.process_time()
    for _ in range(2):
        json.loads(header)
    return None, str(time.process_time() - begin)


# What is known of how much it takes, to try the measure itself.
MEGABYTES = 60
# Memory is held for as long as many looks at it take.
_HELD_SECONDS = 0.02


def _python_memory() -> tuple[None, str]:
    held = b"x" * (MEGABYTES * 1_000_000)
    time.sleep(_HELD_SECONDS)
    return None, str(len(held))


def _system_memory() -> tuple[None, str]:
    with mmap.mmap(-1, MEGABYTES * 1_000_000, flags=mmap.MAP_PRIVATE) as memory:
        for start in range(0, len(memory), 4096):
            memory[start] = 1
        time.sleep(_HELD_SECONDS)
    return None, ""


def _busy() -> tuple[None, str]:
    while time.process_time() < 0.3:
        pass
    return None, ""


def _dying() -> tuple[None, str]:
    os.kill(os.getpid(), signal.SIGKILL)
    return None, ""


KNOWN: dict[str, Work] = {
    each.__name__: each for each in (_python_memory, _system_memory, _busy, _dying)
}


def main(folder: Path, names: list[str]) -> None:
    """Print the outcomes of the cases of some names, or of all, and of what is known."""
    # What the first checkpoint imports is no case's doing.
    good(folder)
    assert opened(folder) == (None, "lm_head.weight")
    (folder / "model.safetensors").rename(folder / "m.safetensors")
    assert opened(index(folder, {"lm_head.weight": "m.safetensors"})) == (None, "lm_head.weight")
    for name, work in KNOWN.items():
        print(json.dumps([name, asdict(measured(work, trace=name == "_python_memory"))]))
    for case in CASES:
        if not names or case.name in names:
            print(json.dumps([case.name, asdict(tried(case, folder / case.name))]), flush=True)


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """The outcome of every case, and of what is known, by its name."""
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path_factory.mktemp("corpus"))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {name: Outcome(**outcome) for name, outcome in lines}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_checkpoint_is_refused_for_its_reason_within_bounds(
    case: Hostile, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[case.name]
    assert outcome.error == case.error.__name__, outcome.message
    assert case.says in outcome.message
    assert outcome.message.isprintable()
    assert len(outcome.message) < 1000
    assert outcome.cpu_seconds < case.seconds * outcome.slowness
    assert outcome.wall_seconds < LOOSE_SECONDS
    assert outcome.resident < case.megabytes * 1e6
    assert outcome.traced < case.megabytes * 1e6


def test_every_larger_bound_says_why() -> None:
    for case in CASES:
        assert bool(case.why) == ((case.seconds, case.megabytes) != (1, 50)), case.name


def test_cases_have_names_and_words_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert len(case.says) > 5, case.name


def test_the_measure_sees_memory_that_is_given_back_whoever_it_was_had_from(
    outcomes: dict[str, Outcome],
) -> None:
    python, system = outcomes["_python_memory"], outcomes["_system_memory"]
    assert python.resident > 0.9 * MEGABYTES * 1e6
    assert python.traced > MEGABYTES * 1e6
    assert system.resident > 0.9 * MEGABYTES * 1e6


def test_the_measure_sees_time_and_death(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["_busy"].cpu_seconds > 0.2
    assert outcomes["_dying"].error == "the process died"


# What only looks hostile


def test_a_header_of_100_MB_that_is_mostly_spaces_is_read(tmp_path: Path) -> None:
    header = json.dumps({"lm_head.weight": entry()}).encode().ljust(MAX_HEADER_BYTES)
    assert opened(safetensors(tmp_path / "m.safetensors", header, 4)) == (None, "lm_head.weight")


def test_a_matrix_among_100_000_tensors_is_found(tmp_path: Path) -> None:
    last = json.dumps({"lm_head.weight": entry(offsets=[100_000, 100_004])}).encode()
    parts = [b"{", many(100_000), b",", last[1:]]
    path = safetensors(tmp_path / "m.safetensors", parts, 100_004)
    assert opened(path) == (None, "lm_head.weight")


def test_a_matrix_of_terabytes_is_located(tmp_path: Path) -> None:
    head = {"lm_head.weight": entry("F32", [2**30, 2**10], [0, TERABYTES])}
    path = safetensors(tmp_path / "m.safetensors", json.dumps(head).encode(), TERABYTES)
    assert opened(path) == (None, "lm_head.weight")


def test_a_link_out_of_the_directory_is_followed_as_a_hub_cache_needs(tmp_path: Path) -> None:
    for folder in ("blobs", "snapshot"):
        (tmp_path / folder).mkdir()
    good(tmp_path / "blobs", "0123abcd")
    (tmp_path / "snapshot" / "model.safetensors").symlink_to("../blobs/0123abcd")
    assert opened(tmp_path / "snapshot") == (None, "lm_head.weight")


def test_an_index_may_name_a_tensor_twice_if_it_says_the_same(tmp_path: Path) -> None:
    good(tmp_path, "m.safetensors")
    places = b'{"lm_head.weight":"m.safetensors","lm_head.weight":"m.safetensors"}'
    (tmp_path / INDEX).write_bytes(b'{"weight_map":%b}' % places)
    assert opened(tmp_path) == (None, "lm_head.weight")


def test_a_part_beyond_the_last_is_a_file_by_itself(tmp_path: Path) -> None:
    pairs = [write.pair(b"general.architecture", write.STRING, write.string(b"llama"))]
    raw = write.gguf(pairs, [write.described(b"token_embd.weight", [2, 3])], bytes(24))
    path = gguf_file(tmp_path, raw).rename(tmp_path / "m-00003-of-00002.gguf")
    assert opened(path) == opened(tmp_path) == (None, "token_embd.weight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
