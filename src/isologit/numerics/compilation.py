"""Where machine code is kept between runs, and who hears that some is being made.

numba compiles a kernel for the types that it meets and keeps the result in a directory. Which one
is settled here, and so is how to listen; no kernel is here and no word is printed. numba itself is
imported inside functions: listening must not cost the half second that it takes.
"""

import atexit
import contextlib
import functools
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from isologit.errors import NoCompilerError


@dataclass(frozen=True)
class CodeDirectory:
    """A directory of machine code; `lasts` says whether the next run finds it there."""

    path: Path
    lasts: bool


@dataclass(eq=False)
class Compiling:
    """What was compiled while somebody listened.

    Parameters
    ----------
    seconds
        All threads of it one after another.
    not_kept
        Why something could not be kept for the next run; empty where all was.
    """

    seconds: float = 0.0
    not_kept: str = ""


Begun = Callable[[CodeDirectory], None]

# Process-wide, as numba's own settings are: it has one cache directory and one compiler lock.
_directory: CodeDirectory | None = None
_listeners: list[tuple[Begun, Compiling]] = []
_with_blas = True

# What numba imports to learn whether it can offer BLAS.
_BLAS = "scipy.linalg.cython_blas"


@contextlib.contextmanager
def listening(begun: Begun) -> Iterator[Compiling]:
    """Call `begun` once if anything is compiled in this block, and yield how long that took.

    It is called before the first is, on the thread that compiles. What is loaded is not compiled.
    """
    heard = Compiling()
    told = False

    def once(directory: CodeDirectory) -> None:
        nonlocal told
        if not told:
            told = True
            begun(directory)

    entry = (once, heard)
    _listeners.append(entry)
    try:
        yield heard
    finally:
        _listeners.remove(entry)


def keep_machine_code() -> None:
    """Settle where kernels are cached, before the first is defined, and listen to the compiler.

    Every module that defines a kernel imports one that calls this. Later calls do nothing.

    numba looks beside the source and in the user's cache directory. Where it can write to neither,
    as in a container with a read-only installation and no home, it would refuse to compile: then a
    directory of the user's own among the temporary files serves, or one for this process alone.
    """
    global _directory
    if _directory is None:
        _require_a_compiler()
        if not _with_blas:
            _start_without_blas()
        _directory = _numbas_choice() or _our_choice()
        _forget_other_sources(_directory.path)
        _listen()


def kernel(*, fastmath: bool | set[str] = False) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a kernel: run without the interpreter lock, and kept between runs.

    Machine code that cannot be read any more is made again, and what cannot be kept (a full disk)
    is used all the same; numba alone would raise what the file system or the unpickler raised.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        import numba

        compiled = numba.njit(nogil=True, cache=True, fastmath=fastmath)(function)
        compiled._cache = _forgiving_cache()(function)
        return compiled

    return decorate


@functools.cache
def _forgiving_cache() -> Any:
    from numba.core.caching import FunctionCache, IndexDataCacheFile

    class NamedByKey(IndexDataCacheFile):  # type: ignore[misc]  # numba is untyped
        """numba's files of one kernel, those of machine code named by what they were made for.

        numba takes the next number that its index has not: two processes at once take the same one,
        and the index of one then leads to the code of the other, made for other types.
        """

        def save(self, key: Any, data: Any) -> None:
            number = int.from_bytes(sha256(repr(key).encode()).digest()[:6])
            name = self._load_index().get(key, self._data_name(number))
            self._save_data(name, data)
            # Read once more: another process may have written it meanwhile.
            overloads = self._load_index()
            if key not in overloads:
                self._save_index(overloads | {key: name})

    class ForgivingCache(FunctionCache):  # type: ignore[misc]  # numba is untyped
        """numba's cache of one kernel, for which no file is worth an error."""

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            self._cache_file = NamedByKey(
                cache_path=self._cache_path,
                filename_base=self._impl.filename_base,
                source_stamp=self._impl.locator.get_source_stamp(),
            )

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # whatever a damaged pickle raises
                with contextlib.suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception as error:  # the index is read here too
                for _, heard in tuple(_listeners):
                    heard.not_kept = str(error)

    return ForgivingCache


def leave_out_blas() -> None:
    """Have numba start without BLAS, if it has not started: for a process of isologit's own.

    No kernel here calls it, and to offer it numba imports scipy where that is installed: 0.15 s.
    Another program's kernels may call it, so only the command line asks for this.
    """
    global _with_blas
    _with_blas = False


def _start_without_blas() -> None:
    if _BLAS in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    # How Python itself marks a module that must not be imported; numba takes it for scipy's
    # absence, which it is made for.
    sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        import_module("numba.np.arraymath")
    finally:
        del sys.modules[_BLAS]


def _require_a_compiler() -> None:
    import numba

    if numba.config.DISABLE_JIT:
        raise NoCompilerError(
            "NUMBA_DISABLE_JIT is set, and without numba's compiler there are no kernels; expected "
            "it to be 0 or unset. Unset it"
        )


def _numbas_choice() -> CodeDirectory | None:
    import numba

    try:
        kept = numba.njit(cache=True)(_numbas_choice)
    except RuntimeError:
        return None
    return CodeDirectory(Path(kept.stats.cache_path), lasts=True)


def _our_choice() -> CodeDirectory:
    import numba

    path = private_directory(Path(tempfile.gettempdir()))
    lasts = path is not None
    if path is None:
        path = Path(tempfile.mkdtemp(prefix="isologit-kernels-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    numba.config.CACHE_DIR = str(path)
    chosen = _numbas_choice()
    return CodeDirectory(path if chosen is None else chosen.path, lasts)


def _forget_other_sources(directory: Path) -> None:
    """Remove machine code that was made from other sources than these.

    numba holds a kernel against the file that defines it alone. Kernels here are made with
    functions of other files too, and an update may change only those: what it kept would run on.
    The directory is the one of this package's numerics, so all that numba keeps there is ours.
    """
    expected = sources_digest(Path(__file__).parent).encode()
    stamp = directory / "isologit-kernels.sha256"
    with contextlib.suppress(OSError):
        if stamp.read_bytes() == expected:
            return
    # Another process may do the same meanwhile: at worst a kernel is compiled once more.
    with contextlib.suppress(OSError):
        for kept in (*directory.glob("*.nbi"), *directory.glob("*.nbc")):
            kept.unlink(missing_ok=True)
        stamp.write_bytes(expected)


def sources_digest(folder: Path) -> str:
    """Return the sha256 of a folder's modules.

    Of all of them: which of them the compiler sees the code of cannot be told by their text.
    """
    running = sha256()
    for path in sorted(folder.glob("*.py")):
        running.update(path.read_bytes())
    return running.hexdigest()


def private_directory(parent: Path) -> Path | None:
    """Return a directory in a shared place that only this user can change, made if need be.

    Machine code is run as it is found, so a directory that somebody else may have prepared is not
    taken: it must be a real one, ours, closed to all others, and in a place where nobody else can
    put another in its stead.
    """
    if not hasattr(os, "geteuid"):
        return None  # no owner to ask for, so none to trust
    try:
        # Without links, so that what is looked at here is what will be used.
        place = parent.resolve(strict=True)
        if not all(_settled(each.stat()) for each in (place, *place.parents)):
            return None
        path = place / f"isologit-kernels-{os.geteuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        if not _closed(path.lstat()):
            return None
        # Neither mode nor owner tells of a file system that is read-only, or full.
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return None
    return path


def _settled(place: os.stat_result) -> bool:
    """Return whether nobody else can rename in a place what is this user's."""
    others_write = bool(place.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    sticky = bool(place.st_mode & stat.S_ISVTX)
    return place.st_uid in (0, os.geteuid()) and (sticky or not others_write)


def _closed(own: os.stat_result) -> bool:
    """Return whether this is a directory, not a link to one, of this user's and shut to others."""
    shut = not own.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(own.st_mode) and own.st_uid == os.geteuid() and shut


def _listen() -> None:
    """Pass on the compiler's own events, which it sends for what is not in the cache alone."""
    from numba.core import event

    class Compiler(event.Listener):  # type: ignore[misc]  # numba is untyped
        """Counts the depth: a kernel that calls another has both compiled, one inside the other."""

        def __init__(self) -> None:
            self._depth = 0
            self._since = 0.0

        def on_start(self, event: Any) -> None:
            # The compiler's lock is held, so no two threads are here at once.
            self._depth += 1
            if self._depth == 1 and _directory is not None:
                self._since = time.perf_counter()
                for begun, _ in tuple(_listeners):
                    begun(_directory)

        def on_end(self, event: Any) -> None:
            self._depth -= 1
            if self._depth == 0:
                for _, heard in tuple(_listeners):
                    heard.seconds += time.perf_counter() - self._since

    event.register("numba:compile", Compiler())
