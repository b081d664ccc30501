"""Finding tensors by what a family calls them, whatever prefix a checkpoint puts before."""

from collections.abc import Iterable, Mapping

from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import counted, listed, shown, shown_shape
from isologit.errors import UnclearHeadError

# Components of a name that lead into another model than the language model: images, sound, speech
# output, and the extra heads of multi-token prediction.
_ELSEWHERE = frozenset(
    {
        *("vision_tower", "vision_model", "vision_encoder", "visual", "vision", "vit"),
        *("audio_tower", "audio_model", "audio_encoder", "audio", "speech_encoder", "whisper"),
        *("talker", "code_predictor", "token2wav", "mtp", "draft", "eagle"),
    }
)


def named(tensors: Mapping[str, TensorInfo], stems: Iterable[str], where: str) -> str | None:
    """Return the tensor whose name is, or ends in, the first of some stems that any name does.

    Of several the one with the shortest prefix. Names inside numbered blocks, and in the parts of
    a model that are not its language model, do not count.

    Raises
    ------
    UnclearHeadError
        Several have prefixes of one length.
    """
    for stem in stems:
        found = [name for name in tensors if _matches(name, stem)]
        if not found:
            continue
        shortest = min(name.count(".") for name in found)
        nearest = [name for name in found if name.count(".") == shortest]
        if len(nearest) > 1:
            raise UnclearHeadError(
                f"{where} holds {counted(len(nearest), 'tensor')} that could be {stem}: "
                f"{described(tensors[name] for name in nearest)}. Name one with --tensor."
            )
        return nearest[0]
    return None


def prefix(name: str, stems: Iterable[str]) -> str:
    """Return what stands before the stem that a name ends in."""
    for stem in stems:
        if _matches(name, stem):
            return name.removesuffix(stem)
    return ""


def matrices(tensors: Mapping[str, TensorInfo]) -> list[TensorInfo]:
    """Return the tensors of two dimensions, those of most rows first."""
    found = [info for info in tensors.values() if len(info.shape) == 2]
    return sorted(found, key=lambda info: (-info.shape[0], info.name))


def candidates(tensors: Mapping[str, TensorInfo]) -> str:
    """List the matrices for a message, those inside numbered blocks only where all are."""
    every = matrices(tensors)
    return described([t for t in every if in_language_model_trunk(t.name)] or every) or "none"


def described(infos: Iterable[TensorInfo]) -> str:
    """Return tensors as ``a [32000, 4096], b [32000, 4096]``."""
    return listed(f"{shown(info.name)} {shown_shape(info.shape)}" for info in infos)


def in_language_model_trunk(name: str) -> bool:
    """Whether a name leads neither into a numbered block nor out of the language model."""
    return not any(part.isdigit() or part in _ELSEWHERE for part in name.split("."))


def _matches(name: str, stem: str) -> bool:
    if name != stem and not name.endswith("." + stem):
        return False
    return in_language_model_trunk(name.removesuffix(stem))
