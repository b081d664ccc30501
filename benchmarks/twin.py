"""Write a twin of Qwen3-4B-Instruct-2507's unembedding matrix, with a known cluster planted.

Real in it are the shape, the format, the leading eigenvalues of the covariance, the total variance,
the norms, and the cluster: populations of identical rows a few ULP apart and a halo of near
neighbours, at the published sizes. The rest is Gaussian. The published figures are those of the
research line that the project starts from (github Embedding-Space/Azimuth_II, 1.3c and 1.9a).

    python benchmarks/twin.py OUT.safetensors     a file with one tensor, W
    python benchmarks/twin.py OUT                 a directory as transformers would save it

Beside the file, or in the directory, ``….truth.json`` records the planted token ids.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

N_TOKENS = 151_936
WIDTH = 2_560
SEED = 2507
POPULATIONS = (814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2)
HALO = 121
SPECTRUM = (0.010487, 0.003178, 0.002791)

# The largest eigenvalue is published as 0.94 % of it.
_TOTAL_VARIANCE = 1.1157
# Where the cluster lies: the published pole on the sphere of axes 2 (north), 1 (meridian) and 3
# (equinox), and the cosine of its centroid with that direction.
_LAT_DEG, _LON_DEG = -7.288, 6.941
_CENTROID_NORM = 0.371
_CENTROID_COSINE = 0.84375
# The mean of the ordinary rows: from the published mean logits at the pole (.0918) and at the
# centroid (.1016), both at a distance of .371, and so that their norm comes to 1.14.
_MEAN_NORM = 0.43
_MEAN_ALONG_POLE = 0.0918 / 0.371
_MEAN_ALONG_CENTROID = 0.1016 / 0.371
# Relative standard deviation of the norms of ordinary rows.
_NORM_SPREAD = 0.08
# Of the centre's coordinates, the share that a population's row has one ULP away.
_SHARE_MOVED = 0.25
_HALO_ULPS = 3
_BLOCK_ROWS = 2048

Words = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Truth:
    """What was planted.

    Parameters
    ----------
    n_tokens, width, seed
        As given.
    populations
        The token ids of each population, ascending; the rows of one are bit-identical.
    halo
        The token ids of the cluster's other rows, all distinct.
    spectrum
        The leading eigenvalues of the covariance of all rows.
    """

    n_tokens: int
    width: int
    seed: int
    populations: list[list[int]]
    halo: list[int]
    spectrum: list[float]

    @property
    def cluster(self) -> npt.NDArray[np.int32]:
        """All planted token ids, ascending."""
        ids = [token for population in self.populations for token in population]
        return np.sort(np.array(ids + self.halo, dtype=np.int32))


def twin_blocks(n_tokens: int, width: int, seed: int) -> tuple[Truth, Iterator[Words]]:
    """Return what is planted in a twin, and its bf16 rows in blocks. ``[n, width]`` uint16 each.

    The leading eigenvalues come out as planted where the cluster is a small part of the rows, as
    it is at full size.
    """
    planted = sum(POPULATIONS) + HALO
    if n_tokens < 2 * planted or width < 8:
        raise ValueError(f"a twin needs {2 * planted} tokens of width 8, got {n_tokens}, {width}")
    rng = np.random.Generator(np.random.PCG64(seed))
    axes = np.linalg.qr(rng.standard_normal((width, 5)))[0].T
    centre, mean = _centre_and_mean()
    ids = rng.permutation(n_tokens)[:planted]
    cuts = np.cumsum(POPULATIONS)
    populations = [np.sort(part) for part in np.split(ids[: cuts[-1]], cuts[:-1])]
    halo = np.sort(ids[cuts[-1] :])
    truth = Truth(
        n_tokens,
        width,
        seed,
        [population.tolist() for population in populations],
        halo.tolist(),
        list(SPECTRUM),
    )
    rows = _cluster_rows(_round_to_bf16((centre @ axes).astype(np.float32)), rng)
    row_of = np.full(n_tokens, -1, dtype=np.int64)
    for n, population in enumerate(populations):
        row_of[population] = n
    row_of[halo] = len(populations) + np.arange(HALO)
    covariance = _ordinary_covariance(centre - mean, planted / n_tokens)
    ordinary = _ordinary_blocks(rng, n_tokens, mean @ axes, covariance, axes[:3])

    def blocks() -> Iterator[Words]:
        start = 0
        for block in ordinary:
            which = row_of[start : start + len(block)]
            block[which >= 0] = rows[which[which >= 0]]
            start += len(block)
            yield block

    return truth, blocks()


def make_twin(
    path: Path | str, *, n_tokens: int = N_TOKENS, width: int = WIDTH, seed: int = SEED
) -> Truth:
    """Write a twin to a ``.safetensors`` file or a new directory, and its truth beside it.

    Parameters
    ----------
    path
        A file, if it ends in ``.safetensors``: it gets one tensor, ``W``. Otherwise a directory:
        it gets ``config.json`` and ``model.safetensors`` with a tied embedding and a final norm.
    n_tokens, width, seed
        Shape of the matrix, and the seed of all that is random.
    """
    path = Path(path)
    truth, blocks = twin_blocks(n_tokens, width, seed)
    if path.suffix == ".safetensors":
        _write_safetensors(path, "W", (n_tokens, width), blocks, {})
        truth_path = path.with_suffix(".truth.json")
    else:
        path.mkdir(parents=True, exist_ok=True)
        norm = {"model.norm.weight": np.full(width, 0x3F80, dtype=np.uint16)}
        weight = "model.embed_tokens.weight"
        _write_safetensors(path / "model.safetensors", weight, (n_tokens, width), blocks, norm)
        config = {
            "architectures": ["Qwen3ForCausalLM"],
            "hidden_size": width,
            "model_type": "qwen3",
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "vocab_size": n_tokens,
        }
        (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        truth_path = path / "twin.truth.json"
    truth_path.write_text(json.dumps(asdict(truth)) + "\n")
    return truth


def read_truth(path: Path | str) -> Truth:
    """Read what `make_twin` wrote beside a twin."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return Truth(**json.loads(path.with_suffix(".truth.json").read_text()))
    return Truth(**json.loads((path / "twin.truth.json").read_text()))


def _cluster_rows(centre: Words, rng: np.random.Generator) -> Words:
    """Return the distinct rows of the cluster: one for each population, then the halo."""
    shape = (len(POPULATIONS), len(centre))
    steps = np.where(rng.random(shape) < _SHARE_MOVED, rng.choice([-1, 1], shape), 0)
    halo_steps = rng.integers(-_HALO_ULPS, _HALO_ULPS + 1, (HALO, len(centre)))
    # Adding to a word moves its magnitude by so many ULP; no coordinate is within 3 ULP of zero.
    moved = centre.astype(np.int32) + np.concatenate([steps, halo_steps])
    rows: Words = moved.astype(np.uint16)
    if len({row.tobytes() for row in rows}) != len(rows):
        raise ValueError(f"rows of width {len(centre)} are too short to keep the cluster's apart")
    return rows


def _centre_and_mean() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the cluster's centre and the mean of the ordinary rows, along five axes.

    The first three are the principal ones; the fourth holds what the centre has outside them, and
    the fifth what the mean has outside the four.
    """
    lat, lon = np.radians(_LAT_DEG), np.radians(_LON_DEG)
    pole = np.array([np.cos(lat) * np.cos(lon), np.sin(lat), np.cos(lat) * np.sin(lon), 0, 0])
    outside = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    sine = np.sqrt(1 - _CENTROID_COSINE**2)
    centre = _CENTROID_NORM * (_CENTROID_COSINE * pole + sine * outside)
    along_outside = (_MEAN_ALONG_CENTROID - _CENTROID_COSINE * _MEAN_ALONG_POLE) / sine
    mean = _MEAN_ALONG_POLE * pole + along_outside * outside
    mean[4] = np.sqrt(_MEAN_NORM**2 - mean @ mean)
    return centre, mean


def _noise_variance(width: int) -> float:
    """Return the variance of a coordinate outside the leading axes."""
    return (_TOTAL_VARIANCE - sum(SPECTRUM)) / (width - len(SPECTRUM))


def _ordinary_covariance(apart: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Return the ordinary rows' covariance along the principal axes, ``[3, 3]``.

    With what a cluster of this share of the rows adds, `apart` from their mean, it comes to the
    published spectrum.
    """
    between = share * (1 - share) * np.outer(apart[:3], apart[:3])
    covariance: npt.NDArray[np.float64] = (np.diag(SPECTRUM) - between) / (1 - share)
    return covariance


def _ordinary_blocks(
    rng: np.random.Generator,
    n_tokens: int,
    mean: npt.NDArray[np.float64],
    covariance: npt.NDArray[np.float64],
    leading: npt.NDArray[np.float64],
) -> Iterator[Words]:
    width = len(mean)
    noise = _noise_variance(width)
    # The noise varies along the leading axes too.
    values, vectors = np.linalg.eigh(covariance - noise * np.eye(len(leading)))
    amplitudes = np.sqrt(np.maximum(values, 0))
    axes = ((vectors * amplitudes).T @ leading).astype(np.float32)
    for start in range(0, n_tokens, _BLOCK_ROWS):
        n = min(_BLOCK_ROWS, n_tokens - start)
        scale = 1 + _NORM_SPREAD * rng.standard_normal((n, 1), dtype=np.float32)
        block = rng.standard_normal((n, width), dtype=np.float32)
        block *= scale * np.float32(np.sqrt(noise / (1 + _NORM_SPREAD**2)))
        block += rng.standard_normal((n, len(axes)), dtype=np.float32) @ axes
        block += mean.astype(np.float32)
        yield _round_to_bf16(block)


def _round_to_bf16(values: npt.NDArray[np.float32]) -> Words:
    """Round finite values to nearest, ties to even."""
    words = values.view(np.uint32)
    return np.asarray((words + 0x7FFF + ((words >> 16) & 1)) >> 16, dtype=np.uint16)


def _write_safetensors(
    path: Path, name: str, shape: tuple[int, int], blocks: Iterator[Words], others: dict[str, Words]
) -> None:
    """Write one bf16 matrix from blocks, then some bf16 vectors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor, dims in [(name, shape), *((key, each.shape) for key, each in others.items())]:
        begin, end = end, end + 2 * int(np.prod(dims))
        header[tensor] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for words in blocks:
            file.write(words.astype("<u2").tobytes())
        for words in others.values():
            file.write(words.astype("<u2").tobytes())


def main() -> None:
    """Write the full-size twin, or a smaller one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a .safetensors file, or a directory")
    parser.add_argument("--tokens", type=int, default=N_TOKENS)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    truth = make_twin(options.out, n_tokens=options.tokens, width=options.width, seed=options.seed)
    print(f"{options.out}: {truth.n_tokens} tokens, {len(truth.cluster)} in the planted cluster")


if __name__ == "__main__":
    main()
