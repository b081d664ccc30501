"""While the client is asked, it prints nothing; afterwards it is as it was."""

import logging
import warnings

import pytest
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import are_progress_bars_disabled

from isologit.checkpoint.hub.quiet import quiet


def test_nothing_is_said_meanwhile_and_all_of_it_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("huggingface_hub.some.module")
    with quiet():
        with quiet():
            logger.error("unheard")
        logger.error("unheard")
        warnings.warn("unheard", stacklevel=1)
        assert are_progress_bars_disabled()
    assert caplog.records == []
    assert not are_progress_bars_disabled()
    logger.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_bars_that_the_user_has_asked_for_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", False)
    with quiet():
        assert not are_progress_bars_disabled()


def test_it_ends_with_an_error_too() -> None:
    level = logging.getLogger("huggingface_hub").level
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    assert logging.getLogger("huggingface_hub").level == level
    assert not are_progress_bars_disabled()
