"""What a pickle asks for by name, read off its opcodes; nothing of it is run.

Every object but the plainest is made by something that the pickle names as ``module.name`` (a
*global*), so a pickle that names harmless things alone runs nothing else. This is looked at before
torch's own restricted reader sees the file, and does not depend on its version; what that reader's
opcodes may do to its memory (CVE-2026-24747, torch up to 2.9) is not seen here.
"""

import pickletools
import re
import warnings
from dataclasses import dataclass
from typing import Any

# Those of torch's own list for weights (torch/_weights_only_unpickler.py) that state dicts use.
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)"
    r"|(builtins|__builtin__)\.(set|bytearray|complex)"
    r"|_codecs\.encode"
    r"|torch\.(Size|Tensor|device)"
    r"|torch\.(cuda\.|storage\.)?[A-Z][A-Za-z0-9]*Storage"
    r"|torch\.(bool|(u?int|b?float|complex|qu?int|bits)[0-9][0-9a-z_]*)"
    r"|torch\.(torch\.)?per_(tensor|channel)_[a-z_]+"
    r"|torch\.nn\.parameter\.Parameter"
    r"|torch\.serialization\._get_layout"
    r"|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\._utils\._rebuild_[a-z0-9_]+"
)


_INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class Wants:
    """What a pickle asks for.

    Parameters
    ----------
    harmful
        The globals that are not known to be harmless, ``module.name``, each once, in order.
    protocol
        The pickle protocol that it announces.
    strings
        How many different strings stand in it.
    first_integer
        The first integer in it; None where there is none.
    end
        Where it ends, counted from where it began.
    """

    harmful: tuple[str, ...]
    protocol: int
    strings: int
    first_integer: int | None
    end: int


class _Reader:
    """As much of a file's interface as `pickletools` needs, over bytes that are not copied."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self.position = 0

    def read(self, length: int) -> bytes:
        part = bytes(self._content[self.position : self.position + length])
        self.position += len(part)
        return part

    def readline(self) -> bytes:
        # A name is short; without a limit a file without a line feed would be copied whole.
        part = bytes(self._content[self.position : self.position + _LONGEST_LINE])
        line = part[: part.find(b"\n") + 1]
        self.position += len(line)
        return line


def wants(content: memoryview) -> Wants:
    """Return what the pickle at the beginning of some bytes asks for.

    Raises
    ------
    ValueError
        The bytes are not a pickle, or end before it does, and nothing harmful was asked for before.
    """
    with warnings.catch_warnings():
        # Of escapes in text that Python would not write.
        warnings.simplefilter("ignore")
        return _wants(_Reader(content))


def _wants(reader: _Reader) -> Wants:
    harmful: dict[str, None] = {}
    strings: list[str] = []
    protocol = 0
    first_integer: int | None = None
    argument: Any
    try:
        for opcode, argument, _ in pickletools.genops(reader):  # type: ignore[arg-type]
            if opcode.name in ("GLOBAL", "INST"):
                _note(argument.replace(" ", ".", 1), harmful)
            elif opcode.name == "STACK_GLOBAL":
                # The two strings before it, unless they come from somewhere else.
                _note(".".join(strings[-2:]), harmful)
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                _note(f"extension {argument}", harmful)
            elif opcode.name == "PROTO":
                protocol = argument
            elif _is_text(opcode, argument):
                strings.append(argument)
            elif first_integer is None and type(argument) is int and opcode.name in _INTEGERS:
                first_integer = argument
    except ValueError:
        # What it asked for until then has been asked for.
        if not harmful:
            raise
    return Wants(tuple(harmful), protocol, len(set(strings)), first_integer, reader.position)


def _is_text(opcode: Any, argument: Any) -> bool:
    return isinstance(argument, str) and ("UNICODE" in opcode.name or "STRING" in opcode.name)


def _note(name: str, harmful: dict[str, None]) -> None:
    if not _HARMLESS.fullmatch(name):
        harmful[name] = None
