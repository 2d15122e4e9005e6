"""A signal asks once, however often it comes for one cause."""

from __future__ import annotations

import signal
import time

import pytest

from scratchlab.run import interrupt as module
from scratchlab.run.interrupt import Interrupt, terminated_is_interrupted


def test_a_second_sigterm_lets_the_update_finish_however_late_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOMENT", 0.01)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.02)  # the update is longer than a moment
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested == "SIGTERM"


def test_a_second_ctrl_c_interrupts_but_not_in_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # as a wrapper passes it on
        assert interrupt.requested == "SIGINT"
        monkeypatch.setattr(module, "MOMENT", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_what_is_written_down_at_the_end_is_not_interrupted_by_the_same_signal_again(
    number: signal.Signals,
) -> None:
    written = False
    with pytest.raises(KeyboardInterrupt), terminated_is_interrupted():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            written = True
    assert written


def test_a_signal_during_training_is_still_known_after_it() -> None:
    with terminated_is_interrupted():
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested == "SIGTERM"
        signal.raise_signal(signal.SIGTERM)  # the checkpoint is saved, the status not yet


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in module.SIGNALS]
    with terminated_is_interrupted(), Interrupt():
        assert [signal.getsignal(number) for number in module.SIGNALS] != before
    assert [signal.getsignal(number) for number in module.SIGNALS] == before
