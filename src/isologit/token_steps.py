"""The steps that concern tokens: a model's tokenizer, who its rows are, and traces of training."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.config import read_config
from isologit.checkpoint.folder import Folder, LocalFolder
from isologit.checkpoint.hub.spec import looks_local, parse_hub_spec
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.wording import listed, shown
from isologit.equivalence.cluster import Cluster
from isologit.equivalence.partition import Partition, TokenIds
from isologit.equivalence.rows import RowClasses
from isologit.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    OutputWriteError,
    TokenizerError,
    TokenizerNotFoundError,
)
from isologit.numerics.stored import Matrix
from isologit.subject import Subject
from isologit.token_findings import (
    ClassTokens,
    EvidenceFacts,
    TokenizerSource,
    TokensFacts,
)
from isologit.tokens.categories import PADDING, SPECIAL, UNREACHABLE
from isologit.tokens.evidence import GRADES, Evidence
from isologit.tokens.open_tokenizer import open_tokenizer, open_tokenizer_at
from isologit.tokens.settings import TokenizerSettings, read_settings
from isologit.tokens.table import TokenTable, beyond_rows, beyond_rows_note, describe
from isologit.tokens.text import LONGEST_NAMED
from isologit.tokens.undertrained import undertrained_evidence
from isologit.tokens.vocabulary import Tokenizer

NO_TOKENIZER = "no tokenizer lies beside the weights: tokens are ids (--tokenizer names one)"
# Of config.json and generation_config.json; decoders that are given text begin with the last.
_ROLES = ("bos", "eos", "pad", "decoder_start")
# Tokens of a class that are shown.
_FIRST = 5


@dataclass(frozen=True, eq=False)
class Tokens:
    """What a model's tokenizer tells of its rows; `table` is None where it does not load.

    `rows_known` is false where nothing says how many rows W has, and the table has as many as the
    tokenizer has ids; `settings` are those of the tokenizer's config; `named` the roles of ids by
    the model's own configs; `notes` what a reader has to know; `chosen` how the user named the
    tokenizer, None where it is the model's own.
    """

    table: TokenTable | None
    rows_known: bool = True
    settings: TokenizerSettings = field(default_factory=TokenizerSettings)
    named: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    chosen: str | None = None


def source_of(tokenizer: Tokenizer, chosen: str | None) -> TokenizerSource:
    """Return where a tokenizer is from, and how the user named it."""
    return TokenizerSource(source=tokenizer.source, kind=tokenizer.kind, named=chosen)


def read_tokens(checkpoint: Checkpoint, n_rows: int | None, chosen: str | None = None) -> Tokens:
    """Read a model's tokenizer, and find out who each row is.

    Parameters
    ----------
    checkpoint
        The model; its tokenizer is in a GGUF file's header, or lies beside the weights.
    n_rows
        Rows of W; None stands for as many as the tokenizer has ids.
    chosen
        Another tokenizer that the user names: a file, a directory, ``bytes``, or a hub's model.

    Raises
    ------
    TokenizerError
        There is none, or it cannot be used.
    HubError
        It could not be fetched.
    """
    named = named_in(checkpoint.folder)
    if chosen is None:
        return tokens_in(
            checkpoint.folder,
            n_rows,
            model_type=_model_type(checkpoint.config or {}),
            gguf=checkpoint.gguf,
            where=checkpoint.name,
            named=named,
        )
    return tokens_at(chosen, n_rows, named)


def tokens_at(chosen: str, n_rows: int | None, named: Mapping[int, tuple[str, ...]]) -> Tokens:
    """Read a tokenizer that the user names, and find out who each row is; see `read_tokens`.

    `named` are the roles of ids by the model's own configs (`named_in`).
    """
    if chosen == "bytes":
        found = open_tokenizer_at(chosen)
        return _described(found, TokenizerSettings(), n_rows, named, chosen)
    path = Path(chosen)
    if not path.exists():
        folder = hub_folder(chosen)
        return tokens_in(
            folder,
            n_rows,
            model_type=model_type_in(folder),
            named=named,
            chosen=chosen,
        )
    beside = LocalFolder(path if path.is_dir() else path.parent)
    settings = read_settings(beside.find)
    tokenizer = open_tokenizer_at(chosen, model_type_in(beside), settings)
    return _described(tokenizer, settings, n_rows, named, chosen)


def config_in(folder: Folder, name: str = "config.json") -> Mapping[str, Any]:
    """Return a config of a folder; of one that is not there, or no config, nothing."""
    try:
        path = folder.find(name) if name in folder.names else None
        return {} if path is None else read_config(path)
    except CheckpointError:
        return {}


def model_type_in(folder: Folder) -> str | None:
    """Return what a folder's config.json says that the model is."""
    return _model_type(config_in(folder))


def hub_folder(spec: str) -> Folder:
    """Return the folder of a model of the hub, of which nothing has been fetched.

    Raises
    ------
    CheckpointNotFoundError
        It is not the name of a model of the hub.
    HubError
        The hub does not give it out.
    """
    model = None if looks_local(spec) else parse_hub_spec(spec)
    if model is None:
        raise CheckpointNotFoundError(
            f"--tokenizer {spec} does not exist; give a tokenizer's file or directory, "
            "org/name[@revision] for one of the hub, or the word bytes"
        )
    from isologit.checkpoint.hub.folder import HubFolder
    from isologit.checkpoint.hub.model import open_hub

    return HubFolder(open_hub(model))


def tokens_in(
    folder: Folder,
    n_rows: int | None,
    *,
    model_type: str | None,
    named: Mapping[int, tuple[str, ...]],
    gguf: Mapping[str, Any] | None = None,
    where: str | None = None,
    chosen: str | None = None,
) -> Tokens:
    """Read the tokenizer that lies in a folder, or in a GGUF header, and find out who each row is.

    Parameters
    ----------
    folder
        Where the weights lie.
    n_rows
        Rows of W, or None.
    model_type
        config.json's.
    named
        Roles of ids by the model's own configs (`named_in`).
    gguf
        The metadata of a GGUF header.
    where
        What messages call the model; the folder, if nothing is given.
    chosen
        How the user named the folder; None where it is that of the model itself, which goes
        without saying.

    Raises
    ------
    TokenizerError, HubError
        See `read_tokens`.
    """
    parents: set[str] = set()

    def find(name: str) -> Path | None:
        path = folder.find(name)
        if path is not None:
            parents.add(f"{shown(str(path.parent))}/")
        return path

    name = where or folder.name
    settings = read_settings(find)
    tokenizer = open_tokenizer(
        find,
        folder.names,
        model_type=model_type,
        gguf=gguf,
        where=shown(name),
        settings=settings,
    )
    # Of the hub the files lie in a cache.
    source, notes = tokenizer.source, tokenizer.notes
    before = "" if chosen is None else f"{folder.name}@{folder.revision}/"
    for parent in parents:
        source = source.replace(parent, before)
        notes = tuple(note.replace(parent, before) for note in notes)
    read = replace(tokenizer, source=source, notes=notes)
    return _described(read, settings, n_rows, named, chosen)


def named_in(folder: Folder) -> dict[int, tuple[str, ...]]:
    """Return which ids a model's configs give a role (bos, eos, pad, …), and which roles."""
    roles: dict[int, list[str]] = {}
    for name in ("config.json", "generation_config.json"):
        config = config_in(folder, name)
        for role in _ROLES:
            value = config.get(f"{role}_token_id")
            for token_id in value if isinstance(value, list) else [value]:
                if type(token_id) is int and token_id >= 0:
                    roles.setdefault(token_id, []).append(role)
    return {token_id: tuple(dict.fromkeys(each)) for token_id, each in roles.items()}


def _described(
    tokenizer: Tokenizer,
    settings: TokenizerSettings,
    n_rows: int | None,
    named: Mapping[int, tuple[str, ...]],
    chosen: str | None,
) -> Tokens:
    table = describe(tokenizer, n_rows, named)
    notes = [*tokenizer.notes, *settings.notes, *filter(None, [table.unchecked])]
    notes += _unknown_names(tokenizer, named)
    if n_rows is not None:
        notes += beyond_rows_note(tokenizer, n_rows)
    return Tokens(table, n_rows is not None, settings, named, tuple(notes), chosen)


def _unknown_names(tokenizer: Tokenizer, named: Mapping[int, tuple[str, ...]]) -> list[str]:
    """Say which ids have a role by the model's config and no token by the tokenizer's files."""
    missing = {i: roles for i, roles in named.items() if not tokenizer.vocabulary.has(i)}
    if not missing:
        return []
    each = listed((f"{i} ({', '.join(roles)})" for i, roles in missing.items()), at_most=4)
    return [
        f"the model's config gives a role to {each}, which the tokenizer's files do not know: "
        "other added tokens may be taken for padding; a tokenizer_config.json would say"
    ]


def tokens_or_why_not(
    checkpoint: Checkpoint, n_rows: int | None, chosen: str | None = None
) -> Tokens:
    """Read a model's tokenizer; one that is not there, or cannot be used, becomes a note.

    One that the user named is an error still.
    """
    if chosen is not None:
        return read_tokens(checkpoint, n_rows, chosen)
    try:
        return read_tokens(checkpoint, n_rows)
    except TokenizerNotFoundError:
        return Tokens(None, notes=(NO_TOKENIZER,))
    except (TokenizerError, CheckpointError, OutputWriteError) as error:
        return Tokens(None, notes=(f"the tokenizer is left out, and tokens are ids: {error}",))


def begin_reading(subject: Subject) -> "Future[Tokens]":
    """Begin to find out who a subject's rows are, beside the passes over W.

    Nearly all of the time is spent in the tokenizer's library, which lets other threads run. Of a
    hub model the files are fetched first, on the thread that Ctrl-C reaches.
    """
    future: Future[Tokens] = Future()

    def run() -> None:
        try:
            future.set_result(
                tokens_or_why_not(
                    subject.checkpoint, subject.head.matrix.n_tokens, subject.settings.tokenizer
                )
            )
        except BaseException as error:
            future.set_exception(error)

    if subject.checkpoint.source == "hub":
        run()
    else:
        # A daemon, which Ctrl-C does not wait for.
        Thread(target=run, daemon=True).start()
    return future


def tokens_facts(
    tokens: Tokens,
    *,
    rows: Partition | None = None,
    largest: Sequence[Sequence[int]] = (),
    cluster_ids: TokenIds | None = None,
    class_ids: TokenIds | None = None,
    evidence: Evidence | None = None,
) -> TokensFacts | None:
    """Return who the rows are, in numbers; None without a tokenizer.

    Parameters
    ----------
    tokens
        As they were read.
    rows
        Tokens with the same row.
    largest
        The token ids of the largest row classes, in their order.
    cluster_ids, class_ids
        The cluster, and the tokens of the most common logit.
    evidence
        Traces of training.
    """
    table = tokens.table
    if table is None:
        return None
    tokenizer, known = table.tokenizer, table.reachability
    shared = special = None
    if rows is not None:
        ids = np.flatnonzero(rows.n_others())
        shared = dict(table.mix(ids))
        special = [
            f"{i} {table.shown(i, LONGEST_NAMED)}"
            for i in ids[table.categories[ids] == SPECIAL].tolist()
        ]
    return TokensFacts(
        rows=table.n_rows if tokens.rows_known else None,
        in_tokenizer=tokenizer.vocabulary.n_tokens,
        padding=table.n_padding if tokens.rows_known else None,
        beyond_rows=len(beyond_rows(tokenizer, table.n_rows)),
        tokenizer=source_of(tokenizer, tokens.chosen),
        categories=table.counts(),
        unreachable=table.n_unreachable,
        causes={} if known is None else known.causes(table.n_rows),
        scripts=table.scripts.counts(),
        in_classes=shared,
        special_in_classes=special,
        classes=[class_tokens(table, ids) for ids in largest],
        cluster=None if cluster_ids is None else class_tokens(table, cluster_ids),
        modal_class=None if class_ids is None else class_tokens(table, class_ids),
        evidence=None if evidence is None else evidence_facts(evidence),
    )


def class_tokens(table: TokenTable, token_ids: npt.ArrayLike) -> ClassTokens:
    """Return what a class's tokens are, and the first of them; texts are escaped."""
    ids = np.asarray(token_ids)
    with_token = (i for i in ids.tolist() if table.raw(i) is not None)
    return ClassTokens(
        size=len(ids),
        mix=dict(table.mix(ids)),
        first=[table.shown(i, LONGEST_NAMED) for i in islice(with_token, _FIRST)],
    )


def evidence_of(
    matrix: Matrix, rows: RowClasses, clusters: Sequence[Cluster], table: TokenTable | None
) -> Evidence:
    """Return what the rows of W say of each token's training.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        Its row classes.
    clusters
        What stands out in it.
    table
        Who its rows are; None without a tokenizer, and then row classes alone are suspicious.
    """
    candidates: dict[str, npt.NDArray[np.bool_]] = {}
    if table is not None:
        candidates = {
            "padding": table.categories == PADDING,
            "never_in_utf8": table.never_in_utf8(),
            "reserved": table.reserved,
            "unreachable": table.categories == UNREACHABLE,
        }
    return undertrained_evidence(
        matrix,
        candidates=candidates,
        row_labels=rows.rows.labels,
        clusters=[each.token_ids for each in clusters],
    )


def evidence_facts(evidence: Evidence) -> EvidenceFacts:
    """Return how many rows have each grade, and the reference set in numbers."""
    counts = np.bincount(evidence.grades, minlength=len(GRADES)).tolist()
    reference = evidence.reference
    return EvidenceFacts(
        grades=dict(zip(GRADES, counts, strict=True)),
        reference=dict(reference.tokens),
        core=len(reference.token_ids),
        why=reference.why,
    )


def _model_type(config: Mapping[str, Any]) -> str | None:
    found = config.get("model_type")
    return found if isinstance(found, str) else None
