"""The choice of arithmetic: exact, or observed with torch on a device.

Both answer the same questions under one protocol, so that what is computed with them does not know
which one it has.
"""

from typing import TYPE_CHECKING, Protocol

import numpy.typing as npt

from isologit.numerics.formats import Float64s, Format
from isologit.numerics.stored import Matrix, Vector

if TYPE_CHECKING:
    from isologit.numerics.exact import Rounded


class Answers(Protocol):
    """What can be asked of an arithmetic; `isologit.numerics.exact` says what each answer is."""

    def logits(self, matrix: Matrix, hidden_state: Vector, logit_format: Format) -> "Rounded":
        """Return ``W · h``, ``[V]`` in the logit format."""

    def cosines(self, matrix: Matrix, reference: Vector, cosine_format: Format) -> "Rounded":
        """Return the cosine of each row with a reference direction, ``[V]``."""

    def norms(self, matrix: Matrix, format_: Format) -> "Rounded":
        """Return each row's Euclidean norm, ``[V]``."""

    def mean_row(self, matrix: Matrix, token_ids: npt.ArrayLike) -> tuple[Vector, int]:
        """Return the mean of some rows, ``[d]`` in W's format, and how much was refined."""

    def mean(self, values: Float64s, format_: Format) -> float:
        """Return the mean of values of the format."""

    def median(self, values: Float64s, format_: Format) -> float:
        """Return the median of values of the format, the lower of two middle ones."""

    def dot(self, left: Vector, right: Vector, format_: Format) -> float:
        """Return the dot product of two vectors."""

    def norm(self, vector: Vector, format_: Format) -> float:
        """Return a vector's Euclidean norm."""


class Arithmetic(Answers, Protocol):
    """An arithmetic that says which one it is."""

    @property
    def name(self) -> str:
        """``exact`` or ``torch``."""

    @property
    def device(self) -> str:
        """Where the products are computed."""

    @property
    def environment(self) -> dict[str, str]:
        """Everything known to change the results; empty where nothing does."""


def _exact() -> Answers:
    # Imported at the first question: it brings the compiler of the kernels with it, and who merely
    # chooses an arithmetic has a checkpoint to open first.
    from isologit.numerics import exact

    return exact


class Exact:
    """The real number, rounded once; `isologit.numerics.exact` as an `Arithmetic`."""

    name = "exact"
    device = "none needed"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing: no device, thread count or library changes the results."""
        return {}

    def logits(self, matrix: Matrix, hidden_state: Vector, logit_format: Format) -> "Rounded":
        """See `isologit.numerics.exact.logits`."""
        return _exact().logits(matrix, hidden_state, logit_format)

    def cosines(self, matrix: Matrix, reference: Vector, cosine_format: Format) -> "Rounded":
        """See `isologit.numerics.exact.cosines`."""
        return _exact().cosines(matrix, reference, cosine_format)

    def norms(self, matrix: Matrix, format_: Format) -> "Rounded":
        """See `isologit.numerics.exact.norms`."""
        return _exact().norms(matrix, format_)

    def mean_row(self, matrix: Matrix, token_ids: npt.ArrayLike) -> tuple[Vector, int]:
        """See `isologit.numerics.exact.mean_row`."""
        return _exact().mean_row(matrix, token_ids)

    def mean(self, values: Float64s, format_: Format) -> float:
        """See `isologit.numerics.exact.mean`."""
        return _exact().mean(values, format_)

    def median(self, values: Float64s, format_: Format) -> float:
        """See `isologit.numerics.exact.median`."""
        return _exact().median(values, format_)

    def dot(self, left: Vector, right: Vector, format_: Format) -> float:
        """See `isologit.numerics.exact.dot`."""
        return _exact().dot(left, right, format_)

    def norm(self, vector: Vector, format_: Format) -> float:
        """See `isologit.numerics.exact.norm`."""
        return _exact().norm(vector, format_)


def parse_arithmetic(text: str) -> Arithmetic:
    """Return the arithmetic that ``exact``, ``torch`` or ``torch:DEVICE`` stands for.

    ``torch`` alone takes the device that the seed would: cuda, else mps, else cpu.

    Raises
    ------
    ValueError
        The text is none of these.
    MissingExtraError
        Torch was asked for and is not installed.
    DeviceError
        The device that was asked for is not available.
    """
    if text == "exact":
        return Exact()
    from isologit.numerics.observed import DEVICE_NAME, Observed

    library, colon, device = text.partition(":")
    if library != "torch" or (colon and not DEVICE_NAME.fullmatch(device)):
        raise ValueError(
            f"arithmetic {text!r} is not known; expected exact, torch, torch:cpu, torch:cuda, "
            "torch:cuda:N or torch:mps"
        )
    return Observed(device or None)
