"""Signals that ask a run to stop."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from pipeline.files import patience

PATIENCE_S = 5.0
"""How long a block that was asked to stop may go on with its image; a scheduler kills after 30 s."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""SIGTERM from `ray job stop` and every scheduler, SIGINT from Ctrl-C."""


@contextmanager
def stop_flag() -> Iterator[threading.Event]:
    """While the block runs, signals set a flag instead of interrupting it.

    Outside the main thread nothing sets the flag: signals reach only the main thread.
    """
    flag = threading.Event()
    with _handled(lambda _signal, _frame: flag.set()):
        yield flag


@contextmanager
def stop_flag_then_interrupt(after_s: float = PATIENCE_S) -> Iterator[threading.Event]:
    """As `stop_flag`, for a block that may not look at the flag for long: it is interrupted some time later, or by a
    second signal.

    Not at once: an interrupt between any two lines left locks of `threading` held for good, and the run never ended
    (seen once in CI, and within seconds when a stress test interrupts starting threads again and again).

    Raises: KeyboardInterrupt: inside the block.
    """
    flag, ended = threading.Event(), threading.Event()

    def set_flag_or_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    def interrupt_if_late() -> None:
        flag.wait()
        if not ended.wait(after_s):
            signal.pthread_kill(_main_ident(), signal.SIGINT)  # a real one, since it also ends a sleep

    with _handled(set_flag_or_interrupt):
        watcher = threading.Thread(target=interrupt_if_late, name="interrupt", daemon=True)
        watcher.start()
        try:
            yield flag
        finally:
            ended.set()
            flag.set()
            watcher.join()


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


@contextmanager
def waiting_for_storage(patience_s: float) -> Iterator[None]:
    """In the block, all threads wait for storage that does not respond, so long at most, until a signal comes.

    What else a signal does stays as it was.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def as_before(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    obeyed = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    with patience.lasting(patience_s), _handled(as_before, obeyed):
        yield


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], signals: Sequence[signal.Signals] = SIGNALS
) -> Iterator[None]:
    """Have the handler called for signals in the block, if it is in the main thread. Nobody waits for storage then."""

    def handle(number: int, frame: FrameType | None) -> None:
        patience.end()
        handler(number, frame)

    with signals_kept():
        if _is_main_thread():
            for number in signals:
                signal.signal(number, handle)
        yield


def _is_main_thread() -> bool:
    return threading.get_ident() == _main_ident()


def _main_ident() -> int:
    ident = threading.main_thread().ident
    assert ident is not None  # it has started
    return ident
