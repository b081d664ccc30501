"""The small files beside a model's weights, in a directory here; those of the hub are in `hub`."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from isologit.checkpoint.wording import shown
from isologit.errors import NotACheckpointError

# Beyond this a file is no tokenizer and no config: the largest published has 33 MB.
LARGEST_FILE = 256 << 20


class Folder(Protocol):
    """The folder that a model's weights lie in."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def revision(self) -> str | None:
        """The commit, of a hub's model."""

    @property
    def names(self) -> Collection[str]:
        """The files in it."""

    def find(self, name: str) -> Path | None:
        """Return where a file lies, by its name; None where there is none."""


@dataclass(frozen=True)
class LocalFolder:
    """A directory of this machine."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def revision(self) -> None:
        """None: a directory is what it is now."""

    @cached_property
    def names(self) -> Collection[str]:
        """The files in it.

        Raises
        ------
        NotACheckpointError
            The directory cannot be listed.
        """
        try:
            return frozenset(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise NotACheckpointError(
                f"{shown(str(self.path))} cannot be listed: {error.strerror or error}"
            ) from error

    def find(self, name: str) -> Path | None:
        """Return where a file lies, by its name; None where there is none."""
        path = self.path / name
        return path if path.is_file() else None
