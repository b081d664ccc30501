"""Keeping huggingface_hub from printing: bars, log lines and warnings are the command line's."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from threading import Lock

# What is silenced belongs to the process, and several threads ask at once: the first one silences,
# the last one restores.
_lock = Lock()
_restore = ExitStack()
_depth = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be printed by huggingface_hub as long as this lasts, in any thread."""
    global _depth
    with _lock:
        if _depth == 0:
            _silence()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _restore.close()


def _silence() -> None:
    _restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    logger = logging.getLogger("huggingface_hub")
    # That is when the logger is given its level, and utils imports it as late as it can.
    import_module("huggingface_hub.utils.logging")
    utils = import_module("huggingface_hub.utils")
    constants = import_module("huggingface_hub.constants")
    _restore.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL + 1)
    # A user who has set HF_HUB_DISABLE_PROGRESS_BARS=0 wants them.
    wanted = constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    if not wanted and not utils.are_progress_bars_disabled():
        utils.disable_progress_bars()
        _restore.callback(utils.enable_progress_bars)
