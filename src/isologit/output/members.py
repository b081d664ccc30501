"""Reading a cluster that a user brings: the seed's file, or a plain list of ids."""

import json
import os
from pathlib import Path

import numpy as np

from isologit.errors import ClusterFileError, EmptyClusterError
from isologit.output.seed_format import read_cluster
from isologit.request import Members


def read_members(path: Path) -> Members:
    """Read token ids from a file.

    ``.json`` holds a list of integers; ``.txt`` integers between spaces, commas or line ends;
    anything else is read as the seed's safetensors file.

    Raises
    ------
    ClusterFileError
        The file is not there, or does not hold what its kind should.
    EmptyClusterError
        It holds no ids.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on a name that is too long
        raise ClusterFileError(f"{path} is not a file; expected a cluster file or a list of ids")
    if path.suffix not in (".json", ".txt"):
        return read_cluster(path)
    try:
        text = path.read_text(encoding="utf-8")
        ids = json.loads(text) if path.suffix == ".json" else text.replace(",", " ").split()
        if not isinstance(ids, list) or any(
            isinstance(x, bool) or not isinstance(x, int | str) for x in ids
        ):
            raise ValueError("expected a list of integers")
        numbers = [int(x) for x in ids]
        token_ids = np.array(numbers, dtype=np.int64)
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise ClusterFileError(f"{path} is not a list of token ids: {error}") from error
    if not len(token_ids):
        raise EmptyClusterError(f"{path} lists no token ids; expected at least one")
    return Members(token_ids, str(path))
