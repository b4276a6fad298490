"""Signals that ask a run to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""`ray job stop` and every scheduler, and Ctrl-C."""


@contextmanager
def stop_flag() -> Iterator[threading.Event]:
    """While the block runs, signals set a flag instead of interrupting it; in another than the main thread nothing
    sets it, since signals do not reach that."""
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
    """Whatever the block puts in place to handle signals is gone after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS} if _is_main_thread() else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # put in place by something that is not Python
                signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
