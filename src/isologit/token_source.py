"""Where a model's tokens are told from: its tokenizer, with its weights or without them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isologit import token_steps
from isologit.checkpoint.config import read_config
from isologit.checkpoint.folder import Folder, LocalFolder
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.errors import CheckpointError, CheckpointNotFoundError, HubError, NotACheckpointError
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
from isologit.token_steps import Tokens
from isologit.tokens.evidence import Evidence
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

    def flags(self, token_id: int) -> list[str]:
        """Return the names of the reasons that hold for a row."""
        return [name for name, mask in self.evidence.flags.items() if mask[token_id]]


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
    if path.is_file() and is_tokenizer_file(path):
        return _without_weights(spec, LocalFolder(path.parent), "file", path.name, "")
    try:
        located = locate_subject(spec, settings, arrived)
    except (CheckpointNotFoundError, HubError):
        raise
    except CheckpointError as error:
        if path.is_file():
            raise
        folder = LocalFolder(path) if path.is_dir() else token_steps.hub_folder(spec)
        why = "" if isinstance(error, NotACheckpointError) else str(error)
        source = "directory" if path.is_dir() else "hub"
        return _without_weights(spec, folder, source, folder.name, why)
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
    if settings.tokenizer is not None or found.model.source == "file":
        return token_steps.tokens_at(settings.tokenizer or found.model.spec, found.n_rows)
    config = _config(found.folder)
    model_type = config.get("model_type")
    return token_steps.tokens_in(
        found.folder,
        found.n_rows,
        model_type=model_type if isinstance(model_type, str) else None,
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
    config = _config(folder)
    n_rows = config.get("vocab_size")
    known = n_rows if type(n_rows) is int and 0 < n_rows < 1 << 31 else None
    said = [f"W is not read: {why}"] if why else []
    if known is None:
        said.append("nothing says how many rows W has; padding rows cannot be told")
    else:
        said.append(f"W has {known:,} rows by config.json")
    model = Model(spec=spec, source=source, revision=None, name=Path(name).name)
    return Found(model, None, folder, known, tuple(said))


def _config(folder: Folder) -> dict[str, Any]:
    path = folder.find("config.json")
    try:
        return {} if path is None else dict(read_config(path))
    except CheckpointError:
        return {}
