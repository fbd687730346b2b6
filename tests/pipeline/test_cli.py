"""How the command ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = (sys.executable, '-c', 'from stembeam.pipeline.cli import main; main()', '--help')


def test_what_was_printed_arrives() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: stembeam COMMAND')
    assert done.stdout.endswith('--version which one this is.\n')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs the device that is always full')
def test_what_cannot_be_printed_is_told() -> None:
    buffered = {**os.environ, 'PYTHONUNBUFFERED': ''}  # so that the end is when it is written
    with open('/dev/full', 'w') as full:
        done = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, env=buffered, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == 'stembeam: <stdout> cannot be written: No space left on device\n'
