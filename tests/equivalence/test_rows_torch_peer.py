"""Row classes beside torch.unique: the same by value, on matrices that hold rows of ±0."""

import numpy as np
import pytest

from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.stored import Matrix

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("format_", [BF16, F16, F32])
@pytest.mark.parametrize("seed", range(5))
def test_value_classes_equal_torch_unique(format_: Format, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.choice([0.0, -0.0, 1.0, -2.0, 0.5], (300, 3))
    values[::7] = 0.0
    values[3::11] = -0.0
    matrix = Matrix.of_values(values, format_)
    words = torch.from_numpy(matrix.words.astype(np.int32 if format_ is F32 else np.int16))
    native = words.view(
        {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[format_.name]
    )
    distinct, inverse = torch.unique(native, dim=0, return_inverse=True)
    found = row_classes(matrix)
    assert found.values.n_classes == len(distinct)
    joined = {(int(a), int(b)) for a, b in zip(found.values.labels, inverse, strict=True)}
    assert len(joined) == len(distinct)
    # The matrices really hold what sets the two relations apart.
    assert found.bits.n_classes > found.values.n_classes
