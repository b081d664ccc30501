"""Every error that isologit raises on purpose, and the exit code of each.

A message says what is wrong, where, what was got, what was expected, and the next step, on one
line. Nothing outside this file derives from `IsologitError`.

    IsologitError
    ├── CheckpointError            the model's files
    │   ├── CheckpointNotFoundError    3   no such path
    │   ├── NotACheckpointError        4   a path that holds no checkpoint
    │   ├── TruncatedFileError         5   fewer bytes than the header promises
    │   ├── MalformedHeaderError       6   a header that contradicts itself or its file
    │   ├── MissingShardError          7   an index that names a file that is not there
    │   ├── UnclearHeadError           8   several tensors could be the unembedding, or none
    │   ├── TensorNotFoundError        9   --tensor names nothing in the checkpoint
    │   ├── TensorShapeError          10   a shape that is not what its role needs
    │   ├── UnsupportedFormatError    11   a number format or container not read here
    │   ├── ConfigError               12   config.json that cannot be used
    │   ├── ChangedFileError          28   a file that was changed while it was analysed
    │   ├── UnsafePickleError         36   a pickle that asks for code to be run
    │   ├── StoreError                44   an object store that does not give a model out
    │   └── HubError               a model of the Hugging Face hub
    │       ├── HubModelNotFoundError 29   no such model, revision or file
    │       ├── HubAccessError        30   private, or the token was refused
    │       ├── HubGatedError         31   terms have to be accepted first
    │       ├── HubRateLimitError     32   too many requests, for longer than is waited
    │       ├── HubOfflineError       33   offline, and not in a cache; or out of reach
    │       └── HubTransferError      34   an answer that is not what was asked for
    ├── TokenizerError             the tokenizer's files
    │   ├── TokenizerNotFoundError    37   no tokenizer among the model's files
    │   └── TokenizerFileError        38   a tokenizer file that cannot be used
    ├── InputError                 what the user asked about
    │   ├── TokenIdError              13   an id outside the vocabulary
    │   ├── EmptyClusterError         14   a cluster or list without members
    │   ├── ClusterFileError          15   a cluster file that cannot be read as one
    │   ├── ClusterVocabularyError    16   a cluster file of another vocabulary size
    │   ├── ClusterCountError         17   n_cluster_members unlike the list
    │   ├── DuplicateTokenError       18   an id given twice
    │   ├── StateError                19   a hidden state of the wrong size or kind
    │   ├── UndeterminedAxesError     20   principal axes that the data do not determine
    │   ├── PublishedFiguresError     21   a file of published figures that cannot be read
    │   ├── CacheBoundError           35   ISOLOGIT_CACHE_BYTES is not a size
    │   ├── PolicyError               39   a policy that cannot be read
    │   ├── ResultsError              40   a result directory, or progress, not read as one
    │   ├── SelectionError            41   nothing to export, or not from what is there
    │   ├── PointError                42   a point of the explorer that is none
    │   ├── ListFileError             45   a list of models that cannot be read as one
    │   └── EmptyListError            46   a list, or a pattern, that names no model
    ├── FailedModelsError             47   some models of a census failed; each has a row
    ├── OutputError                what is written
    │   ├── OutputExistsError         22   the directory is there already
    │   └── OutputWriteError          23   the disk refused (full, read-only)
    └── BackendError               what the arithmetic runs on
        ├── MissingExtraError         24   an optional dependency is not installed
        ├── DeviceError               25   a device that is not there
        ├── FloatingPointModeError    26   the processor rounds otherwise than IEEE 754
        ├── NoCompilerError           27   NUMBA_DISABLE_JIT is set
        ├── ServerError               43   an address that cannot be listened on
        └── WorkersError              48   workers that cannot be had, or are not isologit's
"""

from typing import ClassVar


class IsologitError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line exits with."""

    exit_code: ClassVar[int] = 70


class CheckpointError(IsologitError):
    """The model's files are not what they should be."""


class CheckpointNotFoundError(CheckpointError):
    """The path does not exist."""

    exit_code = 3


class NotACheckpointError(CheckpointError):
    """The path exists and holds no checkpoint."""

    exit_code = 4


class TruncatedFileError(CheckpointError):
    """A file is shorter than its header promises."""

    exit_code = 5


class MalformedHeaderError(CheckpointError):
    """A header contradicts itself, its format or its file."""

    exit_code = 6


class ChangedFileError(CheckpointError):
    """A file was changed while it was analysed."""

    exit_code = 28


class StoreError(CheckpointError):
    """An object store does not give a model's bytes out, or cannot be reached."""

    exit_code = 44


class HubError(CheckpointError):
    """A model of the Hugging Face hub could not be fetched."""


class HubModelNotFoundError(HubError):
    """The hub has no such model, revision or file."""

    exit_code = 29


class HubAccessError(HubError):
    """The hub does not show the model: it is private, or the token was refused."""

    exit_code = 30


class HubGatedError(HubError):
    """The model's terms have to be accepted first."""

    exit_code = 31


class HubRateLimitError(HubError):
    """The hub asks for a longer wait than is worth it."""

    exit_code = 32


class HubOfflineError(HubError):
    """The hub is not asked, or cannot be reached, and the bytes are not in a cache."""

    exit_code = 33


class HubTransferError(HubError):
    """A server sent something else than was asked for, or broke off too often."""

    exit_code = 34


class UnsafePickleError(CheckpointError):
    """A pickle asks for more than tensors and plain values; none of its code was run."""

    exit_code = 36


class MissingShardError(CheckpointError):
    """An index names a file, or a file a tensor, that is not there."""

    exit_code = 7


class UnclearHeadError(CheckpointError):
    """The choice of the unembedding matrix is not clear; the message lists the candidates."""

    exit_code = 8


class TensorNotFoundError(CheckpointError):
    """A tensor that the user named is not in the checkpoint."""

    exit_code = 9


class TensorShapeError(CheckpointError):
    """A tensor's shape is not what its role needs."""

    exit_code = 10


class UnsupportedFormatError(CheckpointError):
    """A number format or a container that is not read."""

    exit_code = 11


class ConfigError(CheckpointError):
    """`config.json` is not JSON, or contradicts the tensors."""

    exit_code = 12


class TokenizerError(IsologitError):
    """The tokenizer's files are not what they should be."""


class TokenizerNotFoundError(TokenizerError):
    """There is no tokenizer among the model's files."""

    exit_code = 37


class TokenizerFileError(TokenizerError):
    """A tokenizer file cannot be read, or holds no tokenizer."""

    exit_code = 38


class InputError(IsologitError):
    """What the user asked about cannot be answered as asked."""


class TokenIdError(InputError):
    """A token id lies outside the vocabulary."""

    exit_code = 13


class EmptyClusterError(InputError):
    """A cluster or a list of ids has no members."""

    exit_code = 14


class ClusterFileError(InputError):
    """A cluster file cannot be read as one."""

    exit_code = 15


class ClusterVocabularyError(InputError):
    """A cluster file was made for another vocabulary size."""

    exit_code = 16


class ClusterCountError(InputError):
    """A cluster file's own count differs from its list."""

    exit_code = 17


class DuplicateTokenError(InputError):
    """A token id is given twice."""

    exit_code = 18


class StateError(InputError):
    """A hidden state has the wrong size, kind or values."""

    exit_code = 19


class UndeterminedAxesError(InputError):
    """The data do not determine the principal axes that were asked for."""

    exit_code = 20


class PublishedFiguresError(InputError):
    """A file of published figures cannot be read."""

    exit_code = 21


class CacheBoundError(InputError):
    """`ISOLOGIT_CACHE_BYTES` does not say how many bytes the cache may hold."""

    exit_code = 35


class PolicyError(InputError):
    """A policy cannot be read, or has a setting of the wrong kind."""

    exit_code = 39


class ResultsError(InputError):
    """A result directory, or what a run kept, cannot be read as such or is of another run."""

    exit_code = 40


class SelectionError(InputError):
    """What is to be exported cannot be told from what is there, or is nothing."""

    exit_code = 41


class PointError(InputError):
    """What the explorer is to look at is no point, or none that this model has."""

    exit_code = 42


class ListFileError(InputError):
    """A list of models cannot be read as one."""

    exit_code = 45


class EmptyListError(InputError):
    """A list, or a pattern, names no model."""

    exit_code = 46


class FailedModelsError(IsologitError):
    """Some models of a census failed; each has a row with its error, and the rest were done."""

    exit_code = 47


class OutputError(IsologitError):
    """Something could not be written."""


class OutputExistsError(OutputError):
    """The output directory exists; nothing was touched."""

    exit_code = 22


class OutputWriteError(OutputError):
    """The file system refused a write; nothing was left behind."""

    exit_code = 23


class BackendError(IsologitError):
    """The arithmetic that was asked for cannot run here."""


class MissingExtraError(BackendError):
    """An optional dependency is not installed."""

    exit_code = 24


class DeviceError(BackendError):
    """A device that was asked for is not available."""

    exit_code = 25


class FloatingPointModeError(BackendError):
    """The processor flushes subnormals or rounds otherwise than to nearest."""

    exit_code = 26


class NoCompilerError(BackendError):
    """The compiler of the kernels is switched off."""

    exit_code = 27


class ServerError(BackendError):
    """The explorer cannot listen where it was asked to."""

    exit_code = 43


class WorkersError(BackendError):
    """Workers of a census cannot be had, or have another isologit."""

    exit_code = 48
