"""The small files beside a hub model's weights, each fetched whole when it is asked for."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from isologit.checkpoint.folder import LARGEST_FILE
from isologit.checkpoint.hub.model import HubModel
from isologit.checkpoint.wording import shown
from isologit.errors import HubTransferError


@dataclass(frozen=True, eq=False)
class HubFolder:
    """A folder of a hub model's commit; a file of it is fetched whole, once, when it is asked for.

    Parameters
    ----------
    model
        The commit.
    prefix
        The folder in it, with its slash; empty for the model's own.
    """

    model: HubModel = field(repr=False)
    prefix: str = ""

    @property
    def name(self) -> str:
        """The model's name, and the folder."""
        return f"{self.model.repo_id}/{self.prefix}".rstrip("/")

    @property
    def revision(self) -> str:
        """The commit."""
        return self.model.commit

    @cached_property
    def names(self) -> Collection[str]:
        """The files in it."""
        inside = (
            each.removeprefix(self.prefix)
            for each in self.model.files
            if each.startswith(self.prefix)
        )
        return frozenset(each for each in inside if "/" not in each)

    def find(self, name: str) -> Path | None:
        """Return where a file lies once it has been fetched; None where there is none.

        Raises
        ------
        HubError
            It could not be fetched, or is larger than any of its kind.
        """
        if name not in self.names:
            return None
        whole = self.prefix + name
        if (size := self.model.files[whole] or 0) > LARGEST_FILE:
            raise HubTransferError(
                f"{shown(self.model.repo_id)}: {shown(whole)} has {size:,} bytes; up to "
                f"{LARGEST_FILE:,} are fetched"
            )
        return self.model.path(whole)
