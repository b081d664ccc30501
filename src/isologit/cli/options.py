"""The options that commands share, and how their texts become requests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from isologit.checkpoint.head import Role
from isologit.numerics.formats import FORMATS, parse_format
from isologit.numerics.parallel import set_threads
from isologit.request import Pole, id_range
from isologit.subject import Settings

_F = TypeVar("_F", bound=Callable[..., Any])

# Any name that a format goes by, the short ones listed first.
_DTYPES = click.Choice(
    [
        name
        for key in ("name", "torch", "safetensors")
        for name in (getattr(format_, key) for format_ in FORMATS)
    ]
)

model_argument = click.argument("model", metavar="MODEL")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Nothing on stderr: no progress, no list of files."
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Say how long each step took.")
tensor_option = click.option("--tensor", metavar="NAME", help="Take this tensor as W.")
role_option = click.option(
    "--role",
    type=click.Choice(["output", "input"]),
    default="output",
    show_default=True,
    help="The unembedding matrix, or the input embedding.",
)


def dtype_option(help_: str) -> Callable[[_F], _F]:
    """Return ``--dtype``, with what it means there."""
    names = "|".join(f.name for f in FORMATS)
    return click.option("--dtype", type=_DTYPES, metavar=names, help=help_)


tokenizer_option = click.option(
    "--tokenizer",
    metavar="FILE|DIR|MODEL|bytes",
    help="Take this tokenizer instead of the one beside the weights.",
)
directory_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write summary.json, the tables, the seed's files and, of an audit, its page there.",
)
force_option = click.option(
    "--force", is_flag=True, help="Replace DIR if isologit wrote it before."
)


def page_file_options(function: _F) -> _F:
    """Add ``--output`` and ``--force``, for a command that writes one page of a directory."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The page.  [default: DIR/report.html, which is replaced]",
    )
    force = click.option("--force", is_flag=True, help="Replace FILE.")
    return output(force(function))


@dataclass(frozen=True)
class Shared:
    """What every computing command is told."""

    settings: Settings
    as_json: bool
    quiet: bool
    verbose: bool


def computing_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what is computed and how; the command gets them as ``shared``."""
    return _with_options(function, dtype_help="Format of logits and cosines.  [default: W's own]")


def page_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the same to a command that opens a page and prints no findings."""
    help_ = "Format of logits.  [default: W's own]"
    return _with_options(function, dtype_help=help_, prints=False)


def exact_options(
    *, dtype_help: str, why: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator that adds them to a command of exact arithmetic alone.

    Parameters
    ----------
    dtype_help
        What ``--dtype`` means there.
    why
        Why no device has a part in it, for whoever asks for one.
    """
    return partial(_with_options, dtype_help=dtype_help, exact_alone=why)


def _with_options(
    function: Callable[..., None],
    *,
    dtype_help: str,
    exact_alone: str | None = None,
    prints: bool = True,
) -> Callable[..., None]:
    @wraps(function)
    def command(
        *,
        tensor: str | None,
        role: Role,
        dtype: str | None,
        arithmetic: str,
        threads: int,
        tokenizer: str | None,
        quiet: bool,
        verbose: bool,
        as_json: bool = False,
        **own: Any,
    ) -> None:
        if exact_alone is not None and arithmetic != "exact":
            raise click.UsageError(f"{exact_alone}; leave out --arithmetic")
        settings = settings_of(tensor, role, dtype, arithmetic, threads, tokenizer)
        function(**own, shared=Shared(settings, as_json, quiet, verbose))

    decorated: Callable[..., None] = command
    for option in reversed(
        [
            tensor_option,
            role_option,
            dtype_option(dtype_help),
            click.option(
                "--arithmetic",
                default="exact",
                show_default=True,
                metavar="exact|torch[:DEVICE]",
                hidden=exact_alone is not None,
                help="The real number rounded once, or what torch does on a device.",
            ),
            click.option(
                "--threads",
                type=click.IntRange(min=0),
                default=0,
                metavar="N",
                help="Threads; 0 stands for every core.  [default: 0]",
            ),
            tokenizer_option,
            *([json_option] if prints else []),
            quiet_option,
            verbose_option,
        ]
    ):
        decorated = option(decorated)
    return decorated


def pole_options(function: _F) -> _F:
    """Add ``--pole`` and ``--axes``."""
    axes = click.option(
        "--axes",
        default="2,1,3",
        show_default=True,
        metavar="N,M,E",
        help="Principal axes at north, meridian and equinox; a negative number flips one.",
    )
    pole = click.option(
        "--pole",
        metavar="LAT,LON[,DIST]",
        help="A direction in degrees on the sphere of three principal axes.",
    )
    return pole(axes(function))


reachable_option = click.option(
    "--reachable",
    is_flag=True,
    help="Put the state where the final norm could output it: same direction, norm ratio 1.",
)


def settings_of(
    tensor: str | None,
    role: Role,
    dtype: str | None,
    arithmetic: str,
    threads: int,
    tokenizer: str | None = None,
) -> Settings:
    """Return the settings that the shared options stand for."""
    from isologit.numerics.arithmetic import parse_arithmetic
    from isologit.numerics.compilation import leave_out_blas

    set_threads(threads)
    leave_out_blas()
    try:
        chosen = parse_arithmetic(arithmetic)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--arithmetic") from error
    format_ = None if dtype is None else parse_format(dtype)
    return Settings(tensor, role, format_, chosen, tokenizer)


def pole_of(pole: str | None, axes: str) -> Pole | None:
    """Return the pole that ``--pole`` and ``--axes`` stand for."""
    numbers = _numbers(axes, "--axes", int, (3,))
    if 0 in numbers or len({abs(n) for n in numbers}) < 3:
        raise click.BadParameter(
            f"{axes!r}: expected three different axes, counted from 1", param_hint="--axes"
        )
    if pole is None:
        return None
    place = _numbers(pole, "--pole", float, (2, 3))
    if not -90 <= place[0] <= 90:
        raise click.BadParameter(f"latitude {place[0]:g} is outside -90 to 90", param_hint="--pole")
    distance = place[2] if len(place) == 3 else None
    north, meridian, equinox = numbers
    return Pole(place[0], place[1], distance, (north, meridian, equinox))


def token_ids_of(text: str, option: str) -> list[int]:
    """Return the ids that a list like ``124,180-187`` stands for, ascending, each once."""
    found: set[int] = set()
    for part in text.split(","):
        try:
            found |= set(id_range(part.strip()))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=option) from error
    return sorted(found)


def _numbers(text: str, option: str, kind: type[Any], lengths: tuple[int, ...]) -> list[Any]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths or any(abs(n) == float("inf") or n != n for n in numbers):
        wanted = " or ".join(map(str, lengths))
        raise click.BadParameter(f"{text!r}: expected {wanted} numbers", param_hint=option)
    return numbers
