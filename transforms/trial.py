"""Decoding a suspect where it can do no harm: in a process of its own.

Stands on sources.py and watchdog.py; the process runs trial_decoding.py. The one idea: the process says that it lives
with every block that it has decoded, so a long track may take long, but silence is a decoder that hangs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

from .addresses import shown
from .attempts import hung
from .records import Track
from .sources import local_copy

START_SECONDS = 60.0  # that the process may take until its first sign of life, at least


def try_out(track: Track, *, decoder: str, allow_truncated: bool, timeout: float) -> str | None:
    """Decodes all of a track in a process of its own.

    Args:
      track: the track; a remote one is copied here first.
      decoder: as for `probing.probe`.
      allow_truncated: as for `probing.probe`.
      timeout: seconds in which a decoder must give something.

    Returns:
      What is wrong if the process dies or hangs: one line. None if it comes to its end, be the track good or bad, and
      None if it is killed: that is the kernel, which has no memory left, perhaps for quite another reason.

    Raises:
      TrackError: a remote file cannot be copied.
    """
    with local_copy(track.uri) as path:
        asked = {'path': path, 'decoder': decoder, 'allow_truncated': allow_truncated, 'timeout': timeout}
        with subprocess.Popen(
            [sys.executable, '-m', 'stembeam.transforms.trial_decoding'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None
            with process.stdin as stdin:
                stdin.write(json.dumps(asked).encode())
            if not _waits(process, timeout):
                process.kill()
                return hung(track, timeout)
            status = process.wait()
    if status in (0, -signal.SIGKILL):
        return None
    died = f'dies of {_signal_name(-status)}' if status < 0 else f'ends with status {status}'
    return (
        f'{shown(track.uri)}: a process that decodes it {died}: the file breaks the decoder, so replace or convert it'
    )


def _waits(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Waits for the end of the process; False as soon as it gives no sign of life for too long."""
    assert process.stdout is not None
    patience = max(timeout, START_SECONDS)
    while select.select([process.stdout], [], [], patience)[0]:
        if not os.read(process.stdout.fileno(), 4096):
            return True
        patience = timeout
    return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'
