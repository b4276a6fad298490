"""What a process has one of, for all its threads."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class OfProcess(Generic[Thing]):
    """One thing of this process, made anew in a forked child: its parent's threads, which may be using it, are not
    there.

    Args: make: makes it.
    """

    def __init__(self, make: Callable[[], Thing]) -> None:
        self._make = make
        self.here = make()
        """The thing of the process that asks."""
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Make it anew."""
        self.here = self._make()
