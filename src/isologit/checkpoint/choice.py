"""Which tensor is the matrix: by the config, the family's names and what is stored, or not clear.

A choice is a name and the reason for it, in one sentence. Nothing is read but the two matrices
of a model that says they are tied and stores both.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from isologit.checkpoint.config import Settings
from isologit.checkpoint.directory import is_one_shard
from isologit.checkpoint.families import ANY_INPUT, ANY_OUTPUT, KnownFamily
from isologit.checkpoint.locate import (
    candidates,
    described,
    in_language_model_trunk,
    matrices,
    named,
)
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import counted, shown, shown_shape
from isologit.errors import UnclearHeadError

Role = Literal["output", "input"]

# The one tensor of the file that the seed's notebook writes and reads.
_SEED_NAME = "W"
_VOCABULARY_KEYS = ("vocab_size", "padded_vocab_size", "n_vocab")
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Choice:
    """A tensor, and why.

    Parameters
    ----------
    tensor
        Its name.
    tied
        Whether the head is the input embedding; None where nothing says.
    why
        One sentence.
    warnings
        What a reader should know before relying on it.
    by_user
        Whether the user named it and nothing else points to it.
    """

    tensor: str
    tied: bool | None
    why: str
    warnings: tuple[str, ...] = ()
    by_user: bool = False


@dataclass(frozen=True)
class Tie:
    """What the config says of tying the head to the input embedding.

    Parameters
    ----------
    said
        By the config; None where it does not say.
    default
        By the family where the config does not say; None where the family is not known.
    words
        The same in words.
    warnings
        Where the config contradicts itself.
    """

    said: bool | None
    default: bool | None
    words: str
    warnings: tuple[str, ...] = ()

    @property
    def expected(self) -> bool | None:
        """Whether the head should be tied; None where nothing says."""
        return self.default if self.said is None else self.said


def vocabulary_size(settings: Settings) -> int | None:
    """Return the number of tokens that a config gives."""
    given = settings.integer(*_VOCABULARY_KEYS)
    return given[1] if given else None


def choose_output(checkpoint: Checkpoint, settings: Settings, known: KnownFamily | None) -> Choice:
    """Choose the unembedding matrix.

    Raises
    ------
    UnclearHeadError
        Several tensors could be it, or none.
    """
    output, embedding = _stored(checkpoint, known)
    tie = tie_of(settings, known)
    if output is not None and embedding is not None:
        choice = _both_stored(checkpoint, output, embedding, tie)
    elif output is not None:
        choice = Choice(
            output, tie.expected, f"{tie.words}; {shown(output)} is stored, and no input embedding"
        )
    elif embedding is not None and tie.said is not False:
        choice = _embedding_alone(embedding, tie)
    else:
        choice = _by_shape(checkpoint, settings, embedding, tie)
    return replace(choice, warnings=tie.warnings + choice.warnings)


def choose_input(
    checkpoint: Checkpoint, known: KnownFamily | None, output: Choice | None
) -> Choice:
    """Choose the input embedding.

    Parameters
    ----------
    output
        The choice of the output matrix, which a tied model may store alone; None where that was
        not clear.

    Raises
    ------
    UnclearHeadError
        Several tensors could be it, or none.
    """
    _, embedding = _stored(checkpoint, known)
    if embedding is not None:
        tied = output.tied if output else None
        return Choice(embedding, tied, f"{shown(embedding)} is the input embedding by its name")
    if output is not None and output.tied:
        return Choice(output.tensor, True, f"{output.why}; the input embedding is the same matrix")
    if output is not None and output.tied is None and len(matrices(checkpoint.tensors)) == 1:
        return output
    raise UnclearHeadError(
        f"{shown(checkpoint.spec)} holds no tensor with the name of an input embedding; its "
        f"matrices are: {candidates(checkpoint.tensors)}. Name one with --tensor."
    )


def _stored(checkpoint: Checkpoint, known: KnownFamily | None) -> tuple[str | None, str | None]:
    """Return the names of the stored output matrix and input embedding, as far as names tell."""
    where = shown(checkpoint.spec)
    if known is not None:
        return (
            named(checkpoint.tensors, known.family.output, where),
            named(checkpoint.tensors, known.family.input, where),
        )
    # By names alone: what is no matrix, or has far fewer rows than the embedding (a classifier), is
    # no head. Mllama's embedding has a few rows more than its head.
    wide = {info.name: info for info in matrices(checkpoint.tensors)}
    embedding = named(wide, ANY_INPUT, where)
    columns = None
    if embedding is not None:
        rows, columns = wide.pop(embedding).shape
        wide = {n: t for n, t in wide.items() if t.shape[1] != columns or 2 * t.shape[0] > rows}
    outputs = {name for stem in ANY_OUTPUT if (name := named(wide, (stem,), where)) is not None}
    # One of other columns may be the head of a model with a projection, or both may be slices of
    # matrices that several devices share: no name tells.
    unfitting = [n for n in outputs if columns is not None and wide[n].shape[1] != columns]
    if unfitting and embedding is not None:
        outputs.add(embedding)
        wide[embedding] = checkpoint.tensors[embedding]
    if len(outputs) > 1:
        raise UnclearHeadError(
            f"{where} holds {len(outputs)} matrices that could be the unembedding: "
            f"{described(wide[name] for name in sorted(outputs))}. Name one with --tensor."
        )
    return (outputs.pop() if outputs else None), embedding


def tie_of(settings: Settings, known: KnownFamily | None) -> Tie:
    """Return what a config says of tying.

    Raises
    ------
    ConfigError
        It says neither true nor false.
    """
    if known is not None and known.family.tie_words:
        return Tie(None, known.family.tied, known.family.tie_words)
    if not settings.levels:
        return Tie(None, None, "there is no config.json")
    default = known.family.tied if known else None
    flags = settings.flags("tie_word_embeddings")
    if settings.has("scale_decoder_outputs"):
        # transformers 5 writes true into every T5 config that it saves (models/t5): it tells
        # nothing. What was said before is kept as scale_decoder_outputs.
        flags = ()
    if len(set(flags)) == 1:
        said = str(flags[0]).lower()
        return Tie(flags[0], default, f"{settings.label} says tie_word_embeddings: {said}")
    if flags:
        both = f"{settings.label} says tie_word_embeddings both true and false"
        return Tie(None, None, both, (f"{both}, at different levels; the tensors decide",))
    if known is None:
        return Tie(None, None, f"{settings.label} does not say whether the head is tied")
    kind = "tied" if known.family.tied else "untied"
    return Tie(
        None, default, f"{settings.label} does not say; {shown(known.model_type)} models are {kind}"
    )


def _both_stored(checkpoint: Checkpoint, output: str, embedding: str, tie: Tie) -> Choice:
    if tie.expected is False:
        return Choice(output, False, f"{tie.words}, and {shown(output)} is stored")
    pair = f"{shown(output)} and {shown(embedding)}"
    if _is_one(checkpoint, output, embedding):
        return Choice(embedding, True, f"{pair} share one storage in the file")
    difference = _difference_of_kind(checkpoint, output, embedding)
    if difference is None and checkpoint.missing((output, embedding)):
        return _not_compared(output, embedding, tie)
    difference = difference or _difference(checkpoint, output, embedding)
    if difference is None:
        return Choice(embedding, True, f"{tie.words}, and {pair} are stored with the same bytes")
    doubt = f"{tie.words}, but {pair} differ: {difference}"
    same_shape = checkpoint.tensors[output].shape == checkpoint.tensors[embedding].shape
    if tie.said is None or not same_shape:
        return Choice(
            output,
            False,
            f"{tie.words}, and {shown(output)} is stored with other bytes than {shown(embedding)}",
            (f"{doubt}; {shown(output)} is used",) if tie.expected else (),
        )
    # transformers 4 overwrites the head with the embedding when it ties, and vLLM skips the
    # stored head; transformers 5 (modeling_utils.tie_weights) keeps both where they differ.
    return Choice(
        embedding,
        True,
        f"{tie.words}, so {shown(embedding)} is the head",
        (
            f"{doubt}; {shown(embedding)} is used, as transformers 4 does (5 would use "
            f"{shown(output)}: --tensor {shown(output)})",
        ),
    )


def _not_compared(output: str, embedding: str, tie: Tie) -> Choice:
    """Choose between two matrices of a kind, of which but one is to be fetched."""
    chosen = embedding if tie.said else output
    doubt = (
        f"{shown(output)} and {shown(embedding)} are both stored; only {shown(chosen)} is fetched, "
        "so whether they are the same is not known"
    )
    if tie.said:
        return Choice(embedding, True, f"{tie.words}, so {shown(embedding)} is the head", (doubt,))
    return Choice(output, None, f"{tie.words}, and {shown(output)} is stored", (doubt,))


def _is_one(checkpoint: Checkpoint, a: str, b: str) -> bool:
    """Return whether two names stand for the same bytes of the same file."""
    first, second = checkpoint.tensors[a], checkpoint.tensors[b]
    return replace(first, name=second.name) == second


def _difference_of_kind(checkpoint: Checkpoint, a: str, b: str) -> str | None:
    """Return how two stored matrices differ in shape or dtype, in words; None where they do not."""
    first, second = checkpoint.tensors[a], checkpoint.tensors[b]
    if first.shape != second.shape:
        return f"shapes {shown_shape(first.shape)} and {shown_shape(second.shape)}"
    if first.dtype != second.dtype:
        return f"stored as {shown(first.dtype)} and {shown(second.dtype)}"
    return None


def _difference(checkpoint: Checkpoint, a: str, b: str) -> str | None:
    """Return in how many rows two matrices of a kind differ; None where they are the same bytes."""
    left, right = checkpoint.matrix(a).words, checkpoint.matrix(b).words
    step = max(1, _BLOCK_BYTES // (left.shape[1] * left.itemsize))
    rows = sum(
        int(np.count_nonzero((left[i : i + step] != right[i : i + step]).any(axis=1)))
        for i in range(0, left.shape[0], step)
    )
    return f"{rows:,} of {left.shape[0]:,} rows" if rows else None


def _embedding_alone(embedding: str, tie: Tie) -> Choice:
    alone = f"only {shown(embedding)} is stored"
    if tie.expected:
        return Choice(embedding, True, f"{tie.words}, and {alone}")
    if tie.default is None:
        return Choice(
            embedding, None, f"{tie.words}; {shown(embedding)} is the only matrix named as one"
        )
    return Choice(
        embedding,
        True,
        f"{tie.words}, but {alone}",
        (f"{tie.words}, and no output matrix is stored: {shown(embedding)} is used as if tied",),
    )


def _by_shape(
    checkpoint: Checkpoint, settings: Settings, embedding: str | None, tie: Tie
) -> Choice:
    """Choose where no name tells: the file's only matrix, or the only one of V rows."""
    every = matrices(checkpoint.tensors)
    if embedding is None and any(info.name == _SEED_NAME for info in every):
        return Choice(_SEED_NAME, None, "W is the matrix by its name")
    if embedding is None and len(every) == 1:
        only = every[0].name
        return Choice(only, None, f"{shown(only)} is the only matrix")
    rows = checkpoint.tensors[embedding].shape[0] if embedding else vocabulary_size(settings)
    fitting = [
        info
        for info in every
        if info.shape[0] == rows and info.name != embedding and in_language_model_trunk(info.name)
    ]
    if len(fitting) == 1:
        only = fitting[0].name
        return Choice(
            only,
            tie.said if embedding is None else False,
            f"{tie.words}, and {shown(only)} is the only {'other ' if embedding else ''}matrix of "
            f"{rows:,} rows",
        )
    raise UnclearHeadError(_unclear(checkpoint, fitting, rows, embedding, tie))


def _coded_head(checkpoint: Checkpoint) -> str:
    """Return the tensors that a quantised output matrix consists of, in words; else nothing.

    GPTQ and AWQ write ``qweight``, compressed-tensors ``weight_packed``; MLX ``scales`` and
    ``biases`` beside packed integers.
    """
    endings = ("qweight", "weight_packed", "scales")
    names = {f"{stem.removesuffix('weight')}{ending}" for stem in ANY_OUTPUT for ending in endings}
    found = [n for n in checkpoint.tensors if any(n == x or n.endswith("." + x) for x in names)]
    return described(checkpoint.tensors[name] for name in found)


def _unclear(
    checkpoint: Checkpoint,
    fitting: list[TensorInfo],
    rows: int | None,
    embedding: str | None,
    tie: Tie,
) -> str:
    where = shown(checkpoint.spec)
    name = "Name one with --tensor."
    if len(fitting) > 1:
        return f"{where} holds {len(fitting)} matrices of {rows} rows: {described(fitting)}. {name}"
    shard = (
        " It is one part of a model by its name: give the directory instead."
        if checkpoint.source == "file" and is_one_shard(checkpoint.spec)
        else ""
    )
    if coded := _coded_head(checkpoint):
        return (
            f"{where} stores its output matrix in a quantised form that is not read: {coded}. "
            "Give a checkpoint whose head is not quantised, or in GGUF or 8-bit floats"
        )
    if embedding is not None:
        return (
            f"{where} stores no output matrix, and {tie.words}; its matrices are: "
            f"{candidates(checkpoint.tensors)}. {name}{shard}"
        )
    every = matrices(checkpoint.tensors)
    if not every:
        tensors = counted(len(checkpoint.tensors), "tensor")
        return f"{where} holds {tensors} and no matrix [V, d].{shard}"
    return (
        f"{where} holds {counted(len(every), 'matrix', 'matrices')}, none by a name of an "
        f"unembedding: {candidates(checkpoint.tensors)}. {name}{shard}"
    )
