"""Hostile input is the same in every run of the tests: HYPOTHESIS_PROFILE=search looks for new one, for longer."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Iterator

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MOST_BYTES = 64 << 20  # of Python's own memory, for inputs of some kilobytes
_COMMON = {'deadline': None, 'suppress_health_check': list(HealthCheck)}
HOSTILE = settings(derandomize=True, max_examples=60, **_COMMON)  # type: ignore[arg-type]
if os.environ.get('HYPOTHESIS_PROFILE') == 'search':
    HOSTILE = settings(max_examples=3000, **_COMMON)  # type: ignore[arg-type]


@st.composite
def damaged(draw: st.DrawFn, *originals: bytes) -> bytes:
    """One of the originals with bytes changed, cut out, repeated or put in, and mostly cut off somewhere."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(['change', 'extreme', 'cut out', 'repeat', 'put in', 'cut off']))
        length = draw(st.integers(1, 16))
        if kind == 'change':
            new = draw(st.binary(min_size=1, max_size=8))
            content = content[:at] + new + content[at + len(new) :]
        elif kind == 'extreme':  # sizes and counts
            content = (
                content[:at]
                + draw(st.sampled_from([b'\xff', b'\x7f', b'\0', b'\x80'])) * length
                + content[at + length :]
            )
        elif kind == 'cut out':
            content = content[:at] + content[at + length :]
        elif kind == 'repeat':
            content = content[:at] + content[at : at + length] * 3 + content[at + length :]
        elif kind == 'put in':
            content = content[:at] + draw(st.binary(max_size=16)) + content[at:]
        else:
            content = content[:at]
    return content


@contextlib.contextmanager
def only(*allowed: type[Exception]) -> Iterator[None]:
    """Whatever the input, nothing but these errors comes out, each of one line, and memory stays within bounds."""
    tracemalloc.start()
    try:
        yield
    except allowed as error:
        assert len(str(error).splitlines()) == 1, str(error)  # noqa: PT017
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES, f'{peak} bytes'
