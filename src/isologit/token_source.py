"""Where a model's tokens are told from: its tokenizer, with its weights or without them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from isologit import token_steps
from isologit.checkpoint.config import Settings as Config
from isologit.checkpoint.folder import Folder, LocalFolder
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ConfigError,
    HubError,
    NotACheckpointError,
)
from isologit.record import Model
from isologit.subject import (
    LocatedSubject,
    Progress,
    Settings,
    load_subject,
    locate_subject,
    model_facts,
    silent,
)
from isologit.token_steps import Tokens, config_in
from isologit.tokens.evidence import Evidence
from isologit.tokens.huggingface import MAX_ID
from isologit.tokens.open_tokenizer import is_tokenizer_file
from isologit.tokens.table import TokenTable


@dataclass(frozen=True, eq=False)
class Found:
    """A model as far as its tokens need it; `located` is None where it has no weights to be read.

    `n_rows` is None where nothing says how many rows W has.
    """

    model: Model
    located: LocatedSubject | None
    folder: Folder
    n_rows: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """What W says of its rows."""

    rows: RowClasses
    evidence: Evidence


def find_model(spec: str, settings: Settings, arrived: Arrived = nothing) -> Found:
    """Find a model's tokenizer and how many rows W has, by headers alone, with weights or without.

    Raises
    ------
    CheckpointNotFoundError
        There is nothing of that name.
    IsologitError
        It cannot be read.
    """
    path = Path(spec)
    # No weights are stored under these names, so one of another name is a tokenizer still.
    if path.is_file() and (is_tokenizer_file(path) or path.suffix in (".json", ".model")):
        return _without_weights(spec, LocalFolder(path.parent), "file", path.name, "")
    try:
        located = locate_subject(spec, settings, arrived)
    except (CheckpointNotFoundError, HubError):
        raise
    except CheckpointError as error:
        # Not at the top: of all that is read here, results alone need Parquet.
        from isologit.result_files import is_results

        if path.is_file() or settings.tensor is not None or is_results(path):
            raise
        why = "" if isinstance(error, NotACheckpointError) else str(error)
        if path.is_dir():
            name = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - as `open` does
            return _without_weights(spec, LocalFolder(path), "directory", name, why)
        folder = token_steps.hub_folder(spec)
        return _without_weights(spec, folder, "hub", folder.name, why)
    checkpoint = located.checkpoint
    n_rows = located.head.form.info.shape[0]
    return Found(model_facts(checkpoint), located, checkpoint.folder, n_rows, ())


def tokens_of(found: Found, settings: Settings) -> Tokens:
    """Read the tokenizer of a model that was found, and who its rows are.

    Raises
    ------
    TokenizerError, HubError
        There is none, or it cannot be used.
    """
    if found.located is not None:
        return token_steps.read_tokens(found.located.checkpoint, found.n_rows, settings.tokenizer)
    named = token_steps.named_in(found.folder)
    if settings.tokenizer is not None or found.model.source == "file":
        chosen = settings.tokenizer or found.model.spec
        tokens = token_steps.tokens_at(chosen, found.n_rows, named)
        return replace(tokens, chosen=settings.tokenizer)
    return token_steps.tokens_in(
        found.folder,
        found.n_rows,
        model_type=token_steps.model_type_in(found.folder),
        named=named,
    )


def weights_of(found: Found, table: TokenTable | None, progress: Progress = silent) -> Weights:
    """Read W, for row classes and traces of training.

    Raises
    ------
    NotACheckpointError
        The model has no weights to be read.
    """
    if found.located is None:
        raise NotACheckpointError(
            f"{found.model.spec} has no weights that could be read, and row classes and evidence "
            "are of W; give the model's directory, or leave --class, --grade and --evidence out"
        )
    progress("row classes")
    subject = load_subject(found.located)
    matrix = subject.head.matrix
    rows = row_classes(matrix, subject.head.bias)
    progress("cluster")
    clusters = find_clusters(matrix, rows.row_values)
    progress("traces of training")
    evidence = token_steps.evidence_of(matrix, rows, clusters, table)
    found.located.checkpoint.require_unchanged()
    return Weights(rows, evidence)


def _without_weights(spec: str, folder: Folder, source: str, name: str, why: str) -> Found:
    said = [f"W is not read: {why}"] if why else []
    n_rows, where_from = _rows_by_config(folder)
    said.append(where_from)
    revision = folder.revision
    model = Model(spec=spec, source=source, revision=revision, name=name)
    return Found(model, None, folder, n_rows, tuple(said))


def _rows_by_config(folder: Folder) -> tuple[int | None, str]:
    """Return how many rows a config says that W has, and a sentence that says so."""
    unknown = "nothing says how many rows W has; padding rows cannot be told"
    try:
        found = Config.of(config_in(folder), "config.json", "config.json").integer("vocab_size")
    except ConfigError as error:
        return None, f"{unknown}: {error}"
    if found is None:
        return None, unknown
    if not 0 < found[1] <= MAX_ID:
        return None, f"{unknown}: config.json says {found[1]:,}, and no vocabulary has as many"
    return found[1], f"W has {found[1]:,} rows by config.json"
