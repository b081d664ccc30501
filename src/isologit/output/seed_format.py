"""The seed's own safetensors files: cluster members (1.4a) and cluster logits (1.5c).

Keys and dtypes are the seed's, so that its notebooks load what isologit writes, and isologit what
they write. The files carry source, arithmetic, W's sha256 and version in their metadata.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import listed, shown
from isologit.equivalence.partition import TokenIds, token_mask
from isologit.errors import (
    CheckpointError,
    ClusterCountError,
    ClusterFileError,
)
from isologit.findings import Audit, Classes
from isologit.numerics.stored import Vector
from isologit.output.json_text import utf8
from isologit.request import Members

if TYPE_CHECKING:
    # For annotations alone: it brings the compiler of the kernels with it, and a cluster is read
    # before that is needed.
    from isologit.steps import Arrays

Array = npt.NDArray[Any]

_INTEGERS = {"I32": np.int32, "I64": np.int64, "U8": np.uint8, "I16": np.int16, "U32": np.uint32}


def read_cluster(path: Path) -> Members:
    """Read a cluster file; of its keys only ``cluster_token_ids`` is needed.

    What else is there is held against it: ``cluster_mask`` must mark the same tokens, and its
    length is the vocabulary that the file was made for; ``n_cluster_members`` must be the list's
    length.

    Parameters
    ----------
    path
        A safetensors file as the seed's 1.4a writes it.

    Raises
    ------
    ClusterFileError
        It is no such file, or its parts contradict one another.
    ClusterCountError
        Its count is not the length of its list.
    """
    try:
        source = MappedFile(path)
        header = read_header(source)
    except (CheckpointError, OSError) as error:
        raise ClusterFileError(
            f"{path} is not a cluster file: {error}; expected safetensors with cluster_token_ids"
        ) from error
    tensors = header.tensors
    if "cluster_token_ids" not in tensors:
        held = listed(map(shown, sorted(tensors)), at_most=8) or "nothing"
        raise ClusterFileError(
            f"{path} holds no cluster_token_ids (it holds {held}); expected a file as the seed's "
            "1.4a or `isologit audit -o` writes it"
        )
    ids = _integers(source, tensors["cluster_token_ids"], path)
    _check_count(source, tensors, ids, path)
    vocabulary = _checked_mask(source, tensors, ids, path)
    cosine = None
    if "cluster_cosine" in tensors and tensors["cluster_cosine"].dtype == "F32":
        values = _data(source, tensors["cluster_cosine"]).view(np.float32)
        cosine = float(values[0]) if len(values) else None
    return Members(ids, str(path), cosine, vocabulary, header.metadata.get("matrix_sha256"))


def write_cluster_members(path: Path, arrays: "Arrays", metadata: dict[str, str]) -> None:
    """Write the cluster under the keys of the seed's 1.4a."""
    ids = _required(arrays.cluster_ids)
    n_tokens = arrays.subject.head.matrix.n_tokens
    cosine = np.nan if arrays.cluster_cosine is None else arrays.cluster_cosine
    tensors: dict[str, Array] = {
        "cluster_mask": token_mask(ids, n_tokens).astype(np.uint8),
        "cluster_token_ids": ids.astype(np.int32),
        "cluster_cosine": np.array([cosine], dtype=np.float32),
        "n_cluster_members": np.array([len(ids)], dtype=np.int32),
    }
    if arrays.pole is not None:
        tensors["ref_lat"] = np.array([arrays.pole.lat_deg], dtype=np.float32)
        tensors["ref_lon"] = np.array([arrays.pole.lon_deg], dtype=np.float32)
    _save(path, tensors, metadata)


def write_cluster_logits(path: Path, arrays: "Arrays", metadata: dict[str, str]) -> None:
    """Write the logit class and its state under the keys of the seed's 1.5c."""
    ids = _required(arrays.class_ids)
    if arrays.logits is None or arrays.state is None:
        raise ValueError("there is no state to write")
    tensors: dict[str, Array] = {
        "logit_equiv_mask": token_mask(ids, arrays.subject.head.matrix.n_tokens).astype(np.uint8),
        "logit_equiv_token_ids": ids.astype(np.int32),
        "logit_equiv_dot_product": np.array([arrays.logits.mode.value], dtype=np.float32),
        "n_logit_equiv_members": np.array([len(ids)], dtype=np.int32),
    }
    tensors["cluster_centroid"] = as_numpy(arrays.state.vector)
    _save(path, tensors, metadata)


def metadata_of(findings: Audit | Classes) -> dict[str, str]:
    """Return what a file has to say of where it comes from."""
    return {
        "isologit": findings.isologit,
        "source": utf8(findings.model.spec),
        "revision": findings.model.revision or "",
        "tensor": findings.matrix.tensor,
        "matrix_sha256": findings.matrix.sha256,
        "arithmetic": findings.arithmetic.name,
        "device": findings.arithmetic.device,
        "logit_dtype": findings.arithmetic.logit_dtype,
    }


def _required(ids: TokenIds | None) -> TokenIds:
    if ids is None:
        raise ValueError("there is no cluster or class to write")
    return ids


def _save(path: Path, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    # Not save_file: a full disk would surface as its own error instead of an OSError.
    whole = save(tensors, metadata)
    length = int.from_bytes(whole[:8], "little")
    # The library keeps metadata in an order that differs from run to run. Offsets count from the
    # end of the header, so its length is free.
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


def as_numpy(vector: Vector) -> Array:
    """Return a stored vector under a numpy dtype of the same name as torch's."""
    native = {"bf16": np.dtype(ml_dtypes.bfloat16), "f16": np.float16, "f32": np.float32}
    return vector.words.view(native[vector.format.name])


def _data(source: MappedFile, info: TensorInfo) -> npt.NDArray[np.uint8]:
    return np.frombuffer(source.read(info.offset, info.length), dtype=np.uint8)


def _integers(source: MappedFile, info: TensorInfo, path: Path) -> npt.NDArray[np.int64]:
    if info.dtype not in _INTEGERS or len(info.shape) != 1:
        raise ClusterFileError(
            f"{path}: {info.name} is {info.dtype} of shape {list(info.shape)}; expected a list of "
            "integers"
        )
    return _data(source, info).view(_INTEGERS[info.dtype]).astype(np.int64)


def _check_count(
    source: MappedFile,
    tensors: Mapping[str, TensorInfo],
    ids: npt.NDArray[np.int64],
    path: Path,
) -> None:
    if "n_cluster_members" not in tensors:
        return
    counts = _integers(source, tensors["n_cluster_members"], path)
    if counts.tolist() != [len(ids)]:
        raise ClusterCountError(
            f"{path}: n_cluster_members says {', '.join(map(str, counts))} and cluster_token_ids "
            f"lists {len(ids)} tokens; one of them is wrong, write the file again"
        )


def _checked_mask(
    source: MappedFile,
    tensors: Mapping[str, TensorInfo],
    ids: npt.NDArray[np.int64],
    path: Path,
) -> int | None:
    """Hold the mask against the list, and return how many tokens it is for."""
    if "cluster_mask" not in tensors:
        return None
    mask = _integers(source, tensors["cluster_mask"], path)
    if len(mask) and not np.array_equal(np.flatnonzero(mask), np.unique(ids)):
        raise ClusterFileError(
            f"{path}: cluster_mask marks {np.count_nonzero(mask)} tokens and they are not the "
            f"{len(ids)} of cluster_token_ids; write the file again"
        )
    return len(mask)
