"""How an attempt to fetch something can end, and how long to go on trying."""

from __future__ import annotations

import re
from typing import NamedTuple


class Patience(NamedTuple):
    """How long to go on trying."""

    attempts: int = 5  # in a row, none of which brought a megabyte
    connections: int = 2  # attempts while nobody has answered at all
    pause: float = 1.0  # seconds before the second attempt, doubled for each further one
    connect: float = 10.0  # seconds
    read: float = 60.0  # seconds without a byte


class Refused(Exception):
    """Trying again is of no use; the text says why."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        """`missing`: the host says that there is no such file."""
        super().__init__(reason)
        self.missing = missing


class Broken(Exception):
    """An attempt that ended early."""

    def __init__(self, reason: str, *, answered: bool = True, pause: float = 0.0) -> None:
        """`answered`: somebody was there.  `pause`: seconds that the server wants to be left alone."""
        super().__init__(reason)
        self.answered = answered
        self.pause = pause


def cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, 'reason', None)
    if isinstance(reason, BaseException):
        return cause(reason)
    if isinstance(inner, BaseException):
        return cause(inner)
    text = getattr(error, 'strerror', None) or str(error).strip().split('\n')[0]
    # urllib3 puts its own object before the reason.
    return re.sub(r'^.*?[>)]: ', '', text) or type(error).__name__
