"""What a file of `torch.save` is made of, and whether torch may open it: told without torch.

What is refused here is refused alike by every version of torch, and before its reader, which is not
made for files that lie, has seen it. The two formats are those of torch/serialization.py: a zip
archive whose ``data.pkl`` names records ``data/…`` (torch 1.6 and later), or five pickles and the
storages one after the other.
"""

import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.pickle_globals import Wants, wants
from isologit.checkpoint.wording import counted, listed, shown
from isologit.checkpoint.zip_members import STORED, Member, read_members
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    NotACheckpointError,
    TruncatedFileError,
    UnsafePickleError,
    UnsupportedFormatError,
)

# A state dict of 10,000 tensors takes 2 MB. To look through this many bytes takes 10 s at worst.
_MAX_PICKLE_BYTES = 16_000_000
# torch/serialization.py: MAGIC_NUMBER, then the pickles of the protocol, of the system's byte
# order, of the object, and of the keys of the storages.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
_TAR_HEADER_BYTES = 512


@dataclass(frozen=True)
class Archive:
    """A file of the zip format.

    Parameters
    ----------
    protocol
        The pickle's.
    records
        What the storages are stored in, by the offset of the data in the file.
    is_native
        Whether its numbers are in this machine's byte order.
    """

    protocol: int
    records: Mapping[int, Member]
    is_native: bool


@dataclass(frozen=True)
class Legacy:
    """A file of the format before that.

    Parameters
    ----------
    protocol
        The pickle's.
    n_storages
        How many storages the file says that it holds.
    n_bytes
        What follows the pickles.
    """

    protocol: int
    n_storages: int
    n_bytes: int


def examine_archive(source: MappedFile) -> Archive:
    """Look at a zip archive that should be one of `torch.save`.

    Raises
    ------
    UnsafePickleError
        Its pickle asks for anything but tensors and plain values.
    NotACheckpointError
        It holds no ``data.pkl``.
    UnsupportedFormatError
        TorchScript; or a compressed member, which torch never writes.
    TruncatedFileError, MalformedHeaderError
        See `read_members`; or names that differ in case alone, which torch takes for one; or a
        pickle that is none, or is larger than 16 MB.
    """
    where = shown(source.name)
    members = read_members(source)
    if len({name.lower() for name in members}) < len(members):
        raise MalformedHeaderError(
            f"{where} is a zip archive with members whose names differ in case alone; torch cannot "
            "tell these apart"
        )
    # As torch does it: the folder is that of the first member.
    folder = next(iter(members), "").partition("/")[0]
    if f"{folder}/constants.pkl" in members or any(
        name.startswith(f"{folder}/code/") for name in members
    ):
        raise UnsupportedFormatError(
            f"{where} is a TorchScript archive, which holds a program; expected a state dict. "
            "Load it with torch.jit.load where you trust it, and save its state_dict()"
        )
    pickled = members.get(f"{folder}/data.pkl")
    if pickled is None:
        raise NotACheckpointError(
            f"{where} is a zip archive of {counted(len(members), 'member')} without a data.pkl; "
            "torch.save writes one"
        )
    for member in members.values():
        if member.method != STORED:
            raise UnsupportedFormatError(
                f"{where}: member {shown(member.name)} is compressed ({member.packed:,} bytes for "
                f"{member.size:,}), which torch.save does to none. Save it again"
            )
    asked = _read_pickle(source, pickled.offset, pickled.size)
    if asked.harmful:
        raise unsafe(where, asked.harmful)
    order = members.get(f"{folder}/byteorder")
    is_native = order is None or bytes(source.read(order.offset, order.size)) == b"little"
    records = {m.offset: m for name, m in members.items() if name.startswith(f"{folder}/data/")}
    return Archive(asked.protocol, records, is_native and sys.byteorder == "little")


def examine_legacy(source: MappedFile) -> Legacy:
    """Look at a file that should be one of torch's older format.

    Raises
    ------
    UnsafePickleError
        One of its pickles asks for anything but tensors and plain values.
    NotACheckpointError
        It is no pickle, or not one of torch's.
    UnsupportedFormatError
        The tar archive that torch wrote before it had a version.
    TruncatedFileError, MalformedHeaderError
        It ends within its pickles; or these are no pickles, or larger than 16 MB.
    """
    where = shown(source.name)
    _refuse_tar(source, where)
    position = 0
    # The first is looked at even where it turns out not to be torch's: code is code.
    for index in range(_LEGACY_PICKLES):
        if index and position >= source.size:
            raise TruncatedFileError(
                f"{where} ends after {index} of the {_LEGACY_PICKLES} pickles that torch.save "
                f"writes ({source.size:,} bytes); fetch it again"
            )
        asked = _read_pickle(source, position, source.size - position, is_first=not index)
        if asked.harmful:
            raise unsafe(where, asked.harmful)
        if not index and asked.first_integer != _LEGACY_MAGIC:
            raise NotACheckpointError(
                f"{where} is a pickle and not one that torch.save writes; expected a state dict. "
                "Save it with torch, or as safetensors"
            )
        position += asked.end
    return Legacy(asked.protocol, asked.strings, source.size - position)


def unsafe(where: str, names: Sequence[str]) -> CheckpointError:
    """Return the error that names what a pickle asks for."""
    return UnsafePickleError(
        f"{where} is a pickle that asks for {listed(map(shown, names), at_most=2)}: code, which "
        "may do anything. Only tensors and plain values are read from a pickle; nothing of it was "
        "run. If you trust its source, load it with torch and save its tensors with safetensors"
    )


def _read_pickle(source: MappedFile, offset: int, length: int, *, is_first: bool = False) -> Wants:
    where = shown(source.name)
    try:
        return wants(source.read(offset, min(length, _MAX_PICKLE_BYTES)))
    except ValueError as error:
        if is_first:
            raise NotACheckpointError(
                f"{where} is neither a zip archive nor a pickle of torch's ({source.size:,} "
                "bytes); torch.save writes one of these"
            ) from error
        if length > _MAX_PICKLE_BYTES:
            raise MalformedHeaderError(
                f"{where} has a pickle of more than {_MAX_PICKLE_BYTES:,} bytes, or one that does "
                "not end; that of a state dict is far smaller"
            ) from error
        raise MalformedHeaderError(
            f"{where} has a pickle that is none ({shown(str(error))}); fetch it again"
        ) from error


def _refuse_tar(source: MappedFile, where: str) -> None:
    # Torch looks for a tar archive first, and some versions of it unpack one.
    start = bytes(source.read(0, min(_TAR_HEADER_BYTES, source.size)))
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return
    raise UnsupportedFormatError(
        f"{where} is a tar archive, as torch wrote before 0.1.10; expected what torch.save writes. "
        "Load it with a torch of that time where you trust it, and save it again"
    )
