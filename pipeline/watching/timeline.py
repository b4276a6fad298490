"""Amounts over time, in a bounded number of equal bins however long it takes: when they are full, two become one."""

from array import array
from operator import add

MOST_BINS = 192
FIRST_WIDTH_S = 2.0


class Axis:
    """The time since a session began, in bins; series that share it have bins of the same width."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.width_s = FIRST_WIDTH_S
        self.doublings = 0

    def reach(self, at_s: float) -> None:
        """Make the bins wide enough for a moment."""
        while at_s - self.began_s >= MOST_BINS * self.width_s:
            self.width_s *= 2
            self.doublings += 1


class Series:
    """How much of something there was in each bin."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._amounts = array("d")
        self._doublings = axis.doublings

    def add(self, from_s: float, to_s: float, amount: float) -> None:
        """Add an amount that came evenly between two moments; what lies before the session counts for its beginning."""
        axis = self._axis
        axis.reach(to_s)
        if self._doublings < axis.doublings:
            self._fit()
        first, last = (from_s - axis.began_s) / axis.width_s, (to_s - axis.began_s) / axis.width_s
        first, end = max(0.0, first), max(0, int(last))
        if len(self._amounts) <= end:
            self._amounts.extend([0.0] * (end + 1 - len(self._amounts)))
        if first >= end:  # nearly always; the rest takes ten times as long
            self._amounts[end] += amount
            return
        begin, of_a_bin = int(first), amount / (last - first)
        self._amounts[begin] += of_a_bin * (begin + 1 - first)
        for place in range(begin + 1, end):
            self._amounts[place] += of_a_bin
        self._amounts[end] += of_a_bin * (last - end)

    def amounts(self) -> tuple[float, ...]:
        """The amount in each bin, up to the last one that has any."""
        self._fit()
        return tuple(self._amounts)

    def _fit(self) -> None:
        """Merge bins until they have the width of the axis: a series that is idle is merged when it is next used."""
        while self._doublings < self._axis.doublings:
            odd = self._amounts[1::2]
            odd.extend([0.0] * (len(self._amounts) % 2))
            self._amounts = array("d", map(add, self._amounts[::2], odd))
            self._doublings += 1
