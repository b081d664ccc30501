"""The job of ``diff``: two checkpoints of one vocabulary, or several, one after another."""

from collections.abc import Callable, Sequence

from isologit import __version__
from isologit.checkpoint.wording import counted, shown_shape
from isologit.claims import EXACT
from isologit.diff_findings import (
    ClassCounts,
    Continued,
    Diff,
    DiffSeries,
    DiffSide,
    NamedClass,
    Regrouped,
    Vocabulary,
)
from isologit.diff_rows import (
    RowsFound,
    has_scales_beside,
    rows_of_figures,
    rows_of_models,
    rows_of_one_matrix,
    zero_rows,
)
from isologit.diff_sides import Results, RowNames, Side, names_of, open_side, side_of
from isologit.equivalence.partition import Partition
from isologit.equivalence.transitions import Transitions, parts_of, transitions
from isologit.findings import SizedClass
from isologit.numerics.formats import FORMATS, Format
from isologit.subject import Progress, Settings, Subject, silent


def diff(
    specs: Sequence[str], settings: Settings | None = None, *, progress: Progress = silent
) -> Diff | DiffSeries:
    """Compare checkpoints of one vocabulary, each with the next.

    Parameters
    ----------
    specs
        Two or more: models, and directories that ``audit -o`` or ``classes -o`` wrote.
    settings
        Which matrix is meant, and which tokenizer; the logit format, if one is given, is the one
        whose numbers are counted.
    progress
        Called with the name of each step.

    Returns
    -------
    Diff or DiffSeries
        Of two, or of more.

    Raises
    ------
    ValueError
        Fewer than two.
    ResultsError
        A directory with results is damaged, or is about another matrix than the one meant.
    IsologitError
        A model cannot be read.
    """
    settings = settings or Settings()
    return diff_of(specs, [open_side(spec, settings) for spec in specs], settings, progress)


def diff_of(
    specs: Sequence[str],
    opened: Sequence[Subject | Results],
    settings: Settings,
    progress: Progress = silent,
) -> Diff | DiffSeries:
    """Compare what was opened; see `diff`."""
    if len(opened) < 2:
        raise ValueError(f"{len(opened)} checkpoints; expected two or more")
    names = names_of(opened, settings)
    steps: list[Diff] = []
    before: Side | None = None
    for spec, each in zip(specs, opened, strict=True):
        progress("row classes")
        after = side_of(spec, each)
        if before is not None:
            steps.append(_step(before, after, settings.logit_format, names, progress))
        before = after
    if len(steps) == 1:
        return steps[0]
    return DiffSeries(isologit=__version__, steps=steps)


def _step(
    before: Side,
    after: Side,
    format_: Format | None,
    who: Callable[[], RowNames],
    progress: Progress,
) -> Diff:
    n_rows = min(before.n_tokens, after.n_tokens)
    old, new = (_cut(each.rows, n_rows) for each in (before, after))
    progress("classes before and after")
    found = transitions(old, new)
    progress("tokens")
    names = who()
    progress("rows before and after")
    from_, to = before.facts(), after.facts()
    rows = _rows(before, after, (from_, to), (old, new), names, format_)
    zero = zero_rows(before, after, n_rows)
    # What was computed is of the files as they were opened.
    from_, to = before.facts(), after.facts()
    claims = {"classes": EXACT, **rows.claims} | ({} if zero is None else {"zero": EXACT})
    return Diff(
        isologit=__version__,
        from_=from_,
        to=to,
        vocabulary=Vocabulary(
            common=n_rows,
            only_before=before.n_tokens - n_rows,
            only_after=after.n_tokens - n_rows,
        ),
        classes=_counts(found),
        by_value=_by_value(before, after, n_rows),
        born=[_named(new, label, names) for label in found.born],
        dissolved=[_named(old, label, names) for label in found.dissolved],
        merged=[_regrouped(new, label, old, names) for label in found.merged],
        split=[_regrouped(old, label, new, names) for label in found.split],
        grown=[_continued(found, pair, names) for pair in found.grown],
        shrunk=[_continued(found, pair, names) for pair in found.shrunk],
        exchanged=[_continued(found, pair, names) for pair in found.exchanged],
        persistent=len(found.persistent),
        persistent_classes=[_continued(found, pair, names) for pair in found.persistent],
        frozen_rows=rows.frozen_rows,
        frozen=rows.frozen,
        moved=rows.moved,
        moved_at_least=rows.moved_at_least,
        rows_why=rows.why,
        bias=rows.bias,
        zero=zero,
        tokenizer=names.tokenizer,
        claims=claims,
        notes=[*_notes(before, after, from_, to, names), *names.notes],
    )


def _cut(partition: Partition, n_rows: int) -> Partition:
    """Return a partition of the first tokens; the beginning of canonical labels is canonical."""
    return Partition(partition.labels[:n_rows])


def _rows(
    before: Side,
    after: Side,
    facts: tuple[DiffSide, DiffSide],
    two: tuple[Partition, Partition],
    names: RowNames,
    format_: Format | None,
) -> RowsFound:
    one, other = (each.matrix for each in facts)
    if one.shape[1] != other.shape[1]:
        shapes = f"{shown_shape(one.shape)} and {shown_shape(other.shape)}"
        return RowsFound(
            why=f"the matrices are {shapes}: rows of different widths cannot be compared, so that "
            "what is said is of the classes alone"
        )
    if before.subject is not None and after.subject is not None:
        return rows_of_models(before, after, two[1], names, format_)
    same = one.sha256 == other.sha256 and one.dtype == other.dtype and one.shape == other.shape
    # The digest is of W's own bytes.
    if same and not has_scales_beside(one):
        biased = before.bias is not None or after.bias is not None
        return rows_of_one_matrix(before, two[1], names, biased=biased)
    return rows_of_figures(before, after, _by_values(before, after, two[0].n_tokens), format_)


def _counts(found: Transitions) -> ClassCounts:
    return ClassCounts(
        before=int((found.before.sizes() >= 2).sum()),
        after=int((found.after.sizes() >= 2).sum()),
        born=len(found.born),
        dissolved=len(found.dissolved),
        merged=len(found.merged),
        split=len(found.split),
        absorbed=len(found.absorbed),
        fragment=len(found.fragment),
        grown=len(found.grown),
        shrunk=len(found.shrunk),
        exchanged=len(found.exchanged),
        persistent=len(found.persistent),
        tokens_changed=found.n_changed(),
    )


def _by_value(before: Side, after: Side, n_rows: int) -> ClassCounts | None:
    if before.values is None and after.values is None:
        return None
    return _counts(transitions(*_by_values(before, after, n_rows)))


def _by_values(before: Side, after: Side, n_rows: int) -> tuple[Partition, Partition]:
    """Return the classes of rows of equal values on both sides, of the rows that both have."""
    old, new = (_cut(each.values or each.rows, n_rows) for each in (before, after))
    return old, new


def _named(partition: Partition, label: int, names: RowNames) -> NamedClass:
    ids = partition.members(label).tolist()
    return NamedClass(label=label, size=len(ids), token_ids=ids, first=names.first(ids))


def _regrouped(partition: Partition, label: int, other: Partition, names: RowNames) -> Regrouped:
    members = partition.members(label)
    ids, parts = members.tolist(), parts_of(members, other)
    return Regrouped(
        label=label,
        size=len(ids),
        token_ids=ids,
        first=names.first(ids),
        parts=[
            SizedClass(label=part, size=int(other.sizes()[part]), token_ids=shared.tolist())
            for part, shared in parts.shared
        ],
        single_token_ids=parts.single.tolist(),
    )


def _continued(found: Transitions, pair: tuple[int, int], names: RowNames) -> Continued:
    old, new = found.before.members(pair[0]).tolist(), found.after.members(pair[1]).tolist()
    both = sorted(set(old) & set(new))
    return Continued(
        label_before=pair[0],
        label_after=pair[1],
        size_before=len(old),
        size_after=len(new),
        token_ids=both,
        gained=sorted(set(new) - set(both)),
        lost=sorted(set(old) - set(both)),
        first=names.first(both),
    )


def _notes(before: Side, after: Side, from_: DiffSide, to: DiffSide, names: RowNames) -> list[str]:
    notes = []
    for this, other, whose in ((before, after, "before"), (after, before, "after")):
        if (extra := this.n_tokens - other.n_tokens) > 0:
            ids = f"{other.n_tokens}" + (f" to {this.n_tokens - 1}" if extra > 1 else "")
            first = names.first(range(other.n_tokens, this.n_tokens))
            shown = f" ({', '.join(first)}{', …' if extra > len(first) else ''})" if first else ""
            notes.append(
                f"the matrix {whose} has {counted(extra, 'row')} more, {ids}{shown}: they are left "
                "out, and classes are of the rows that both have"
            )
    if (before.bias is None) != (after.bias is None):
        which = "before" if after.bias is None else "after"
        notes.append(
            f"the head has a bias {which} alone: there a row class counts rows with their biases, "
            "and frozen rows are compared without"
        )
    known = {format_.name for format_ in FORMATS}
    for side, whose in ((from_, "before"), (to, "after")):
        if side.matrix.dtype not in known:
            notes.append(
                f"W {whose} is stored as {side.matrix.dtype}: its values are those decoded into "
                f"{side.matrix.values_dtype}"
            )
    return notes
