"""`config.json`: read with care, and asked for one typed value at a time.

Multimodal models keep the language model's settings in an object of their own; a value there goes
before one of the same name outside.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.strict_json import parse_lenient_object
from isologit.checkpoint.wording import shown
from isologit.errors import ConfigError

# transformers, configuration_utils.get_text_config, and the names of InternVL (llm_config),
# DeepSeek-VL (language_config) and Qwen-Omni (thinker_config, which holds a text_config).
_TEXT_KEYS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "decoder",
)


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in a `config.json`.

    Raises
    ------
    ConfigError
        It is not a JSON object, or larger than any config is.
    NotACheckpointError
        It cannot be opened.
    """
    source = MappedFile(path)
    return parse_lenient_object(
        source.read(0, source.size), where=shown(str(path)), error=ConfigError
    )


@dataclass(frozen=True)
class Settings:
    """A config's values, innermost language-model object first.

    Parameters
    ----------
    levels
        The objects to look in, in order.
    where
        The file's path, for errors.
    label
        What to call it in a sentence.
    """

    levels: tuple[Mapping[str, Any], ...]
    where: str
    label: str

    @classmethod
    def of(cls, config: Mapping[str, Any] | None, where: str, label: str) -> "Settings":
        """Return the settings of a config, or none at all."""
        levels = () if config is None else tuple(reversed(list(_levels(config))))
        return cls(levels, where, label)

    @property
    def model_types(self) -> tuple[str, ...]:
        """Each level's ``model_type``, innermost first."""
        found = (level.get("model_type") for level in self.levels)
        return tuple(t for t in found if isinstance(t, str))

    def has(self, key: str) -> bool:
        """Whether any level names the key, be it with null."""
        return any(key in level for level in self.levels)

    def given(self, key: str) -> tuple[Any, ...]:
        """Return the values of a key as they are, null aside, innermost first."""
        return tuple(value for _, value in self._set((key,)))

    def integer(self, *keys: str) -> tuple[str, int] | None:
        """Return the first of some keys that is set, and its positive integer.

        Raises
        ------
        ConfigError
            The value is anything else.
        """
        for key, value in self._set(keys):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise self._wrong(key, value, "a positive integer")
            return key, value
        return None

    def number(self, *keys: str) -> tuple[str, float] | None:
        """Return the first of some keys that is set, and its finite number.

        Raises
        ------
        ConfigError
            The value is anything else.
        """
        for key, value in self._set(keys):
            # A number may be written as an integer too large for binary64: not finite then.
            if (
                not isinstance(value, int | float)
                or isinstance(value, bool)
                or (isinstance(value, int) and abs(value) >= 2**1023)
                or not isfinite(value)
            ):
                raise self._wrong(key, value, "a finite number")
            return key, float(value)
        return None

    def flags(self, key: str) -> tuple[bool, ...]:
        """Return a boolean from every level that sets it, innermost first.

        Raises
        ------
        ConfigError
            A value is not a boolean.
        """
        found = []
        for _, value in self._set((key,)):
            if not isinstance(value, bool):
                raise self._wrong(key, value, "true or false")
            found.append(value)
        return tuple(found)

    def _set(self, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for level in self.levels:
            for key in keys:
                if level.get(key) is not None:
                    yield key, level[key]

    def _wrong(self, key: str, value: object, expected: str) -> ConfigError:
        return ConfigError(f"{self.where}: {key} is {shown(repr(value))}; expected {expected}")


def _levels(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for key in _TEXT_KEYS:
        inner = config.get(key)
        if isinstance(inner, dict):
            yield from _levels(inner)
            return
