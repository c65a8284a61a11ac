"""What is to be said of rows made in chunks. In: the remarks of each chunk. Out: those of all."""

import re
from collections import Counter
from collections.abc import Sequence

_COUNTED = re.compile(r"([\d,]+) (.+)", re.DOTALL)


class Remarks:
    """Remarks as `Task.remarks` makes them, added up: none of the rows is kept."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, remarks: Sequence[str]) -> None:
        for remark in remarks:
            counted = _COUNTED.fullmatch(remark)
            if counted:
                self._counts[counted[2]] += int(counted[1].replace(",", ""))
            else:
                self._counts[remark] = 0

    @property
    def said(self) -> tuple[str, ...]:
        """Of ("3 rows lost an entity",), then ("1 rows lost an entity", "slow")
        -> ("4 rows lost an entity", "slow")
        """
        return tuple(f"{n:,} {what}" if n else what for what, n in self._counts.items())
