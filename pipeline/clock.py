"""Times as people read them."""

from __future__ import annotations

import math


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock(3725)
    '1:02:05'
    """
    if not math.isfinite(seconds):
        return '?'
    whole = max(0, round(seconds))
    return f'{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}'
