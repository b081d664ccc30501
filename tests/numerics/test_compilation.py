"""Where machine code is kept: a shared place is trusted only where nobody else could have been."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from isologit.numerics import compilation
from isologit.numerics.compilation import private_directory, sources_digest

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no such owners")


@pytest.fixture
def shared_place(tmp_path: Path) -> Path:
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    return place


def test_a_directory_is_made_for_this_user_alone(shared_place: Path) -> None:
    path = private_directory(shared_place)
    assert path == shared_place / f"isologit-kernels-{os.geteuid()}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert list(path.iterdir()) == []


def test_it_is_found_again_with_what_it_holds(shared_place: Path) -> None:
    path = private_directory(shared_place)
    assert path is not None
    (path / "kernel.nbc").touch()
    assert private_directory(shared_place) == path
    assert (path / "kernel.nbc").exists()


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_one_that_others_can_look_into_is_refused(shared_place: Path, mode: int) -> None:
    path = private_directory(shared_place)
    assert path is not None
    path.chmod(mode)
    assert private_directory(shared_place) is None


def test_a_link_is_refused_even_to_a_directory_of_one_s_own(shared_place: Path) -> None:
    elsewhere = shared_place / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (shared_place / f"isologit-kernels-{os.geteuid()}").symlink_to(elsewhere)
    assert private_directory(shared_place) is None


def test_a_file_in_the_way_is_refused(shared_place: Path) -> None:
    (shared_place / f"isologit-kernels-{os.geteuid()}").touch(mode=0o700)
    assert private_directory(shared_place) is None


def test_a_place_where_others_can_rename_it_is_refused(shared_place: Path) -> None:
    shared_place.chmod(0o777)
    assert private_directory(shared_place) is None
    shared_place.chmod(0o755)
    assert private_directory(shared_place) is not None


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away"
)
def test_somebody_else_s_is_refused(shared_place: Path) -> None:
    path = private_directory(shared_place)
    assert path is not None
    os.chown(path, 12345, 12345)
    assert private_directory(shared_place) is None
    os.chown(path, 0, 0)
    os.chown(shared_place, 12345, 12345)
    assert private_directory(shared_place) is None


def test_a_place_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert private_directory(tmp_path / "nowhere") is None


def test_a_change_of_any_module_of_numerics_makes_other_machine_code(tmp_path: Path) -> None:
    """A kernel is made with functions of modules that need not name the compiler."""
    for path in Path(compilation.__file__).parent.glob("*.py"):
        shutil.copy(path, tmp_path)
    modules = sorted(tmp_path.glob("*.py"))
    assert {"certify.py", "lanes.py", "formats.py"} <= {path.name for path in modules}
    before = sources_digest(tmp_path)
    for path in modules:
        kept = path.read_bytes()
        path.write_bytes(kept + b"\n")
        assert sources_digest(tmp_path) != before, path.name
        path.write_bytes(kept)
    assert sources_digest(tmp_path) == before


PROGRAM = """
import sys
from isologit.numerics import exact
from isologit.numerics.compilation import listening
from isologit.numerics.formats import F32, parse_format
from isologit.numerics.stored import Matrix, Vector
matrix = Matrix.of_values([[2.0, 1.0]], parse_format(sys.argv[1]))
state = Vector.of_values([1.0, 3.0], F32)
said = []
with listening(said.append) as heard:
    print(exact.logits(matrix, state, F32).values[0])
print(len(said), heard.not_kept)
"""


def run(cache: Path, format_name: str = "f32", *, first: str = "") -> tuple[str, str]:
    """Run the program with a cache directory; return what it found, and what it heard."""
    ran = subprocess.run(
        [sys.executable, "-c", first + PROGRAM, format_name],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found, heard = ran.stdout.splitlines()
    return found, heard


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with the machine code for f32, made and found again."""
    cache = tmp_path_factory.mktemp("kept") / "cache"
    assert run(cache) == ("5.0", "1 ")
    assert run(cache) == ("5.0", "0 ")
    return cache


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 100], ids=["empty", "cut"])
def test_machine_code_that_cannot_be_read_is_made_again(
    kept: Path, tmp_path: Path, suffix: str, left: int
) -> None:
    cache = shutil.copytree(kept, tmp_path / "cache")
    damaged = list(cache.rglob(f"*{suffix}"))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:left])
    assert run(cache) == ("5.0", "1 ")
    assert run(cache) == ("5.0", "0 ")


def test_processes_that_compile_a_kernel_for_two_types_at_once_keep_both_apart(
    kept: Path, tmp_path: Path
) -> None:
    """What one of them wrote into the indexes, the other does not see before it writes its own."""
    cache = shutil.copytree(kept, tmp_path / "cache")
    indexes = {path: path.read_bytes() for path in cache.rglob("*.nbi")}
    for path in indexes:
        path.unlink()
    assert run(cache, "bf16") == ("5.0", "1 ")
    for path, content in indexes.items():
        path.write_bytes(content)
    assert run(cache) == ("5.0", "0 ")


def test_machine_code_that_cannot_be_kept_is_used(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: the index fits, the code does not."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))"
    found, heard = run(tmp_path / "cache", first=limit)
    assert (found, heard[:2]) == ("5.0", "1 ")
    assert "File too large" in heard


def test_a_compiler_that_is_switched_off_is_an_error_of_its_own() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import isologit.numerics.kernels"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 1
    assert "NoCompilerError: NUMBA_DISABLE_JIT is set" in ran.stderr
