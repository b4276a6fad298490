"""Signals that ask a run to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""SIGTERM from `ray job stop` and every scheduler, SIGINT from Ctrl-C."""


@contextmanager
def stop_flag() -> Iterator[threading.Event]:
    """While the block runs, signals set a flag instead of interrupting it.

    Outside the main thread nothing sets the flag: signals reach only the main thread.
    """
    flag = threading.Event()

    def set_flag(_signal: int, _frame: FrameType | None) -> None:
        flag.set()

    with signals_kept():
        if _is_main_thread():
            for number in SIGNALS:
                signal.signal(number, set_flag)
        yield flag


@contextmanager
def signals_kept() -> Iterator[None]:
    """Restore the signal handlers after the block, whatever it installed."""
    before = {number: signal.getsignal(number) for number in SIGNALS} if _is_main_thread() else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: installed by something other than Python
                signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
