"""The process in which a suspect is decoded (see trial.py): `python -m stembeam.transforms.trial_decoding`.

It reads what to decode from standard input, as JSON, and writes a byte for every block. Its end is its answer: 0
whatever the decoders say of the file, anything else if they do not survive it. TensorFlow is not loaded.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from collections.abc import Iterator

from .decoding import decode_blocks
from .probing import probe
from .watchdog import watched_by

END_SECONDS = 60.0  # after its parent must have lost patience with it: there is none any more


class SignsOfLife:
    """A Watcher that writes a byte before every call."""

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds that the parent waits for the next byte."""
        self._seconds = timeout + END_SECONDS

    @contextlib.contextmanager
    def watch(self, more: float) -> Iterator[None]:
        """See Watcher."""
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), b'.')
        faulthandler.dump_traceback_later(self._seconds, exit=True)  # without the help of Python's own threads
        yield


def main() -> None:
    """Decode what standard input names, from its first sample to its last."""
    asked = json.load(sys.stdin)
    options = {'allow_truncated': asked['allow_truncated'], 'decoder': asked['decoder']}
    with watched_by(SignsOfLife(asked['timeout'])), contextlib.suppress(Exception):  # told on the usual way
        info = probe(asked['path'], **options)
        for _ in decode_blocks(asked['path'], info, info.sample_rate, **options):
            pass
    os._exit(0)  # at once: the clearing up of libraries gives no sign of life


if __name__ == '__main__':
    main()
