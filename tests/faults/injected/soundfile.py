"""The package soundfile with faults: it takes its place in every process whose PYTHONPATH names this folder.

A track is struck by what its name says. Files in STEMBEAM_TEST_STRIKES remember what struck only once.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from importlib.machinery import PathFinder
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_spec = PathFinder.find_spec('soundfile', [path for path in sys.path if os.path.abspath(path) != _HERE])
assert _spec is not None
assert _spec.loader is not None
_real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_real)
globals().update({name: value for name, value in vars(_real).items() if not name.startswith('__')})

_FAULTS = {
    'crash-open': ('open', signal.SIGSEGV),
    'crash-read': ('read', signal.SIGABRT),
    'crash-beside': ('read', signal.SIGBUS),  # but not when it is tried alone
    'kill-once': ('read', signal.SIGKILL),
    'memory-twice': ('read', signal.SIGKILL),
    'hang-open': ('open', None),
    'hang-read': ('read', None),
}
_TIMES = {'kill-once': 1, 'memory-twice': 2}


def _strike(file: Any, moment: str) -> None:
    path = os.readlink(f'/proc/self/fd/{file}') if isinstance(file, int) else str(file)
    fault = os.path.basename(path).partition(' ')[0]
    asked = os.environ['STEMBEAM_TEST_FAULTS'].split()
    at, number = _FAULTS.get(fault, (None, None)) if fault in asked else (None, None)
    if at != moment or (fault == 'crash-beside' and 'trial_decoding' in sys.argv[0]):
        return
    if fault in _TIMES and not _is_left(path, _TIMES[fault]):
        return
    if number is not None:
        os.kill(os.getpid(), number)
    while True:  # another thread may be the one that the signal meets
        time.sleep(1)


def _is_left(path: str, times: int) -> bool:
    """Whether the file has been struck less often; this is once more."""
    folder = os.environ['STEMBEAM_TEST_STRIKES']
    for strike in range(times):
        try:
            flags = os.O_CREAT | os.O_EXCL
            os.close(os.open(f'{folder}/{os.path.basename(path)}-{strike}', flags))
        except FileExistsError:
            continue
        return True
    return False


class SoundFile(_real.SoundFile):  # type: ignore[name-defined]
    """Opens and reads, unless the name of the file forbids it."""

    def __init__(self, file: Any, *args: Any, **options: Any) -> None:
        self._asked_for = file
        _strike(file, 'open')
        super().__init__(file, *args, **options)

    def read(self, *args: Any, **options: Any) -> Any:
        _strike(self._asked_for, 'read')
        return super().read(*args, **options)
