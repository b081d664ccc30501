"""``isologit cast``: what casting W to other formats would merge."""

from difflib import get_close_matches
from functools import partial

import click

from isologit.cli import options
from isologit.cli.fetching import open_model
from isologit.numerics.cast_formats import CASTS, OverflowRule, Rules, Scaling
from isologit.numerics.formats import FORMATS
from isologit.subject import LocatedSubject

# What others call them.
_ALIASES = {
    **{name: each.name for each in FORMATS for name in (each.torch, each.safetensors.lower())},
    "fp16": "f16",
    "half": "f16",
    "fp32": "f32",
    "float8_e4m3fn": "f8_e4m3fn",
    "float8_e5m2": "f8_e5m2",
    "fp8_e4m3fn": "f8_e4m3fn",
    "fp8_e5m2": "f8_e5m2",
}


def _formats(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    """Return the formats that names between commas stand for, in any case, each once."""
    found: list[str] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        name = _ALIASES.get(part.lower(), part.lower())
        if name not in CASTS:
            near = get_close_matches(name, CASTS, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise click.BadParameter(f"{part!r} is not one of {', '.join(CASTS)}{hint}")
        if name not in found:
            found.append(name)
    return found


@click.command("cast")
@options.model_argument
@click.option(
    "--to",
    "to",
    multiple=True,
    callback=_formats,
    metavar="FORMAT,…",
    help=f"{', '.join(CASTS)}. May be repeated.  [default: all]",
)
@click.option(
    "--overflow",
    type=click.Choice(["saturate", "nan"]),
    default="saturate",
    show_default=True,
    help="f8_e4m3fn: what is too large becomes ±448, as in torch, or NaN, as in ml_dtypes.",
)
@click.option(
    "--scaling",
    type=click.Choice(["none", "tensor", "row"]),
    default="none",
    show_default=True,
    help="8-bit floats: a scale max|w|/largest for all of W or for each row.",
)
@click.option(
    "--states",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Random states at which winners are compared.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="S",
    help="Which random states.",
)
@options.computing_options
def command(
    model: str,
    to: list[str],
    overflow: OverflowRule,
    scaling: Scaling,
    states: int,
    seed: int,
    shared: options.Shared,
) -> None:
    """Say what a cast of W would merge: rows that become one, logits that tie, winners that change.

    Each number is rounded once, to nearest-even, from the stored value; blocks are made as ggml's
    reference quantiser makes them.
    """

    def check(located: LocatedSubject) -> None:
        """Find before W is fetched that no format fits its rows."""
        from isologit.casting import possible_of

        possible_of(to, located.head.form.info.shape[1], located.checkpoint.name)

    subject = open_model(model, shared, check)
    # Not before: W is being digested beside these.
    from isologit.casting import Sample, casts_of
    from isologit.cli import terminal
    from isologit.output.cast_page import cast_page

    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        findings = casts_of(
            subject,
            to=to,
            rules=Rules(overflow=overflow, scaling=scaling),
            sample=Sample(n=states, seed=seed),
            progress=progress,
        )
    terminal.deliver(
        findings, partial(cast_page, findings), [], as_json=shared.as_json, quiet=shared.quiet
    )
