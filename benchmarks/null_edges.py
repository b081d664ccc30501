"""Measure how near clouds without clusters come to the threshold of an edge.

    python benchmarks/null_edges.py

Two tables for docs/decisions/0003-cluster-null-model.md. First, how many of small clouds raise an
alarm from any of their rows when the test is loosened to a rate of one in five. Second, by format
and width, the largest evidence of a threefold gap that any of 300 rows of a Gaussian matrix sees,
beside what it would need; and the widest gap after four rows or more, as a ratio.
"""

import numpy as np
import numpy.typing as npt

from isologit.equivalence import edge as edge_module
from isologit.equivalence.edge import EdgeTest
from isologit.numerics.formats import FORMATS
from isologit.numerics.stored import Matrix

_LOOSE_RATE = 0.2
_CLOUDS = 200
_CLOUD_ROWS = 50
_CENTRES = 300


def main() -> None:
    """Print both tables."""
    generator = np.random.default_rng(0)
    print(f"alarms among {_CLOUDS} clouds of {_CLOUD_ROWS} rows, at a rate of {_LOOSE_RATE}")
    strict = edge_module.FALSE_ALARM_RATE
    edge_module.FALSE_ALARM_RATE = _LOOSE_RATE
    for width in (1, 2, 16):
        for name, draw in (
            ("uniform", generator.random),
            ("Gaussian", generator.standard_normal),
            ("Cauchy", generator.standard_cauchy),
        ):
            alarms = sum(_alarms(draw((_CLOUD_ROWS, width))) for _ in range(_CLOUDS))
            print(f"  {name}, {width} dimensions: {alarms}")
    edge_module.FALSE_ALARM_RATE = strict

    print("Gaussian matrices of 4,000 rows: largest evidence / threshold; widest gap as a ratio")
    for width in (1, 2, 16, 256):
        for format_ in FORMATS:
            values = generator.standard_normal((4_000, width))
            values = np.unique(Matrix.of_values(values, format_).rows(np.arange(4_000)), axis=0)
            share, ratio = _nearest_miss(values)
            print(f"  {format_.name}, {width} dimensions: {share:.2f}, {ratio:.2f}")


def _alarms(values: npt.NDArray[np.float64]) -> bool:
    test = EdgeTest(np.zeros(len(values), dtype=np.bool_))
    return any(test.edge(squares, np.argsort(squares)) for squares in _squares(values, values))


def _nearest_miss(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest share of its threshold that any edge has, and the widest gap."""
    test = EdgeTest(np.zeros(len(values), dtype=np.bool_))
    best, widest = 0.0, 0.0
    for row in range(0, len(values), max(1, len(values) // _CENTRES)):
        ranked = np.sort(_squares(values[row : row + 1], values)[0])
        ranks = np.arange(edge_module.FEWEST_ROWS - 1, len(values) * 3 // 4)
        widest = max(widest, float(np.sqrt((ranked[ranks + 1] / ranked[ranks]).max())))
        wide = ranks[ranked[ranks + 1] >= edge_module.LEAST_RATIO**2 * ranked[ranks]]
        if len(wide):
            shares = test._evidence(ranked, wide, 0) / test._thresholds(wide)
            best = max(best, float(shares.max()))
    return best, widest


def _squares(
    centres: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    differences = centres[:, None] - values[None]
    return np.asarray(np.einsum("cnd,cnd->cn", differences, differences), dtype=np.float64)


if __name__ == "__main__":
    main()
