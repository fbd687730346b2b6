"""Files in memory whose bytes are passed on: all of them, in constant memory, with the sink's errors."""

from __future__ import annotations

import errno
import io
import os

import numpy as np
import pytest

from stembeam.transforms.memory_file import FREED_BYTES, HEAD_BYTES, MemoryFile


@pytest.mark.parametrize('size', [0, 1, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + 3 * FREED_BYTES + 1])
@pytest.mark.parametrize('step', [1 << 15, 1 << 30])
def test_a_sink_gets_all_bytes_and_the_beginning_anew(size: int, step: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    sink = io.BytesIO()
    file = MemoryFile(sink)
    for first in range(0, size, step):
        os.write(file.descriptor, content[first : first + step])
        file.pass_on()
        assert sink.getvalue() == content[: first + step]
    header = b'of so many bytes'[:size]
    os.pwrite(file.descriptor, header, 0)
    os.write(file.descriptor, b'and more')
    file.finish()
    assert sink.getvalue() == header + content[len(header) :] + b'and more'


def test_what_was_passed_on_takes_no_memory() -> None:
    file = MemoryFile(io.BytesIO())
    for _ in range(40):
        os.write(file.descriptor, bytes(FREED_BYTES))
        file.pass_on()
    assert os.fstat(file.descriptor).st_blocks * 512 <= HEAD_BYTES + 2 * FREED_BYTES
    file.close()


def test_errors_of_the_sink_are_raised_and_the_memory_is_freed() -> None:
    before = set(os.listdir('/proc/self/fd'))
    with open('/dev/full', 'wb', buffering=0) as full:
        file = MemoryFile(full)
        os.write(file.descriptor, b'some')
        with pytest.raises(OSError, match='No space left') as caught:
            file.finish()
        file.close()
    assert caught.value.errno == errno.ENOSPC
    assert set(os.listdir('/proc/self/fd')) <= before
