"""The file in which ``never-top`` keeps what it has decided: written whole, or not at all."""

import json
import os
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from isologit.checkpoint.wording import shown
from isologit.equivalence.argmax import Standing, Status, Witness
from isologit.equivalence.hull_certificate import BoundCertificate, HullCertificate
from isologit.errors import ResultsError
from isologit.never_top import Question
from isologit.output.single_file import write_file

_COLUMNS = ("status", "kind", "tried")


def write_decided(path: Path, question: Question) -> None:
    """Write what is known of a question's tokens, in place of what was known earlier.

    Raises
    ------
    OutputWriteError
        The file system refused; the earlier file is as it was.
    """
    standing = question.standing
    states = dict(standing.states)
    width = int(question.domain.kept.sum())
    tensors: dict[str, np.ndarray] = {
        "status": standing.status,
        "kind": standing.kind,
        "tried": standing.tried,
        "state_token_ids": np.array(list(states), dtype=np.int64),
        "states": np.array(list(states.values()), dtype=np.float32).reshape(len(states), width),
        "certificates": np.frombuffer(_certificates(standing), dtype=np.uint8),
    }
    metadata = {"identity": json.dumps(question.identity()), "sha256": _digest(tensors)}
    write_file(path, save(tensors, metadata), force=True)


def read_decided(path: Path, question: Question) -> Standing | None:
    """Return what an earlier search knew of the same question; None where there is no file yet.

    Raises
    ------
    ResultsError
        The file is none of these, or is about another model or domain.
    """
    if not os.path.lexists(path):
        return None
    named = shown(str(path))
    try:
        content = path.read_bytes()
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        identity = json.loads(metadata["identity"])
        # What it says is passed on as exact, and not all of it is proved again.
        if metadata["sha256"] != _digest(tensors):
            raise ValueError("it is damaged, as its sha256 says")
        found = _standing(tensors, question)
    except (
        OSError,
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        msgspec.MsgspecError,
    ) as error:
        raise ResultsError(
            f"{named} is not what an earlier never-top --resume left: {error}; expected such a "
            "file, or none. Name another file"
        ) from error
    asked = question.identity()
    differ = [key for key in asked if identity.get(key) != asked[key]]
    if differ:
        raise ResultsError(
            f"{named} was begun for another question: its {differ[0]} is "
            f"{shown(str(identity.get(differ[0])))}, expected {shown(asked[differ[0]])}. Name "
            "another file, or the model and the domain it was begun with"
        )
    return found


def _digest(tensors: dict[str, np.ndarray]) -> str:
    digest = sha256()
    for name in sorted(tensors):
        values = tensors[name]
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _certificates(standing: Standing) -> bytes:
    return msgspec.json.encode(
        {
            str(token): _Stored(bound=certificate)
            if isinstance(certificate, BoundCertificate)
            else _Stored(hull=certificate)
            for token, certificate in standing.certificates.items()
        }
    )


class _Stored(msgspec.Struct, frozen=True):
    """One of the two kinds of certificate."""

    hull: HullCertificate | None = None
    bound: BoundCertificate | None = None


def _standing(tensors: dict[str, np.ndarray], question: Question) -> Standing:
    """Return the standing in a file's tensors, after checking that its parts fit together."""
    fresh = question.standing
    n, width = len(fresh.status), int(question.domain.kept.sum())
    status, kind, tried = (tensors[name] for name in _COLUMNS)
    if any(column.dtype != np.int8 or column.shape != (n,) for column in (status, kind, tried)):
        raise ValueError(f"its columns are not of {n} tokens")
    ids, states = tensors["state_token_ids"], tensors["states"]
    if states.shape != (len(ids), width) or states.dtype != np.float32:
        raise ValueError("its states have another shape")
    stored = msgspec.json.decode(tensors["certificates"].tobytes(), type=dict[str, _Stored])
    certificates = {int(token): each.hull or each.bound for token, each in stored.items()}
    if None in certificates.values():
        raise ValueError("a certificate is empty")
    collapsed = (Status.SHADOWED, Status.LEFT_OUT)
    known = {*(int(each) for each in Status)}
    if not set(np.unique(status).tolist()) <= known or any(
        ((status == each) != (fresh.status == each)).any() for each in collapsed
    ):
        raise ValueError("its shadowed tokens are others")
    excluded = np.flatnonzero((status == Status.INTERIOR) | (status == Status.BOUNDARY))
    if set(excluded.tolist()) != set(certificates):
        raise ValueError("its certificates are of other tokens")
    again = kind[(status == Status.WON) & ~np.isin(np.arange(n), ids)]
    if (again != Witness.OWN).any():
        raise ValueError("a witness is missing")
    return Standing(
        status.copy(),
        kind.copy(),
        fresh.shadowed_by,
        tried.copy(),
        dict(zip(ids.tolist(), states.copy(), strict=True)),
        {token: each for token, each in certificates.items() if each is not None},
    )
