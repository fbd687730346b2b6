"""How this process logs: lines for people, or one JSON object a line for programs that gather logs.

The one idea: in JSON everything that comes to standard error is an object, also what is printed there (progress, the
last word of a command), so whoever reads it line by line never meets anything else; only what C libraries write past
Python does not pass here. Workers on other machines log by Beam, in the form that their runner has.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, TextIO

from ..model.hiding import without_secrets

PACKAGE = __name__.partition('.')[0]
LEVELS = ('debug', 'info', 'warning', 'error')
TEXT, JSON = 'text', 'json'
FORMATS = (TEXT, JSON)
# What a record may say beside its message: logger.info('...', extra={'track': ..., 'stage': ...}).
FIELDS = ('track', 'stage')
PRINTED = 'stderr'  # the logger's name for what was printed


class TextFormatter(logging.Formatter):
    """Level and message, without secrets."""

    def __init__(self) -> None:
        """The form of all our lines."""
        super().__init__('%(levelname)s %(message)s')

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        return without_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message; track, stage and error where known. Without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry = _entry(record.created, record.levelname, record.name, record.getMessage())
        entry |= {name: _plain(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            entry['error'] = without_secrets(''.join(traceback.format_exception(*record.exc_info)))
        return json.dumps(entry)


def _entry(created: float, level: str, logger: str, message: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(created, timezone.utc).isoformat(timespec='milliseconds')
    return {'time': moment, 'level': level, 'logger': logger, 'message': without_secrets(message)}


def _plain(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


class JsonLines(io.TextIOBase):
    """A standard error on which every printed line becomes a JSON object."""

    def __init__(self, out: TextIO) -> None:
        """`out`: where the objects go."""
        super().__init__()
        self.out = out
        self._rest = ''

    def write(self, text: str) -> int:
        """Take text; whole lines go on, blank ones do not."""
        *lines, self._rest = (self._rest + text).split('\n')
        now = datetime.now(timezone.utc).timestamp()
        for line in lines:
            if line.strip():
                entry = line if _is_entry(line) else json.dumps(_entry(now, 'INFO', PRINTED, line))
                self.out.write(f'{entry}\n')
        return len(text)

    def flush(self) -> None:
        """Hand on what was written; the beginning of a line waits for its end."""
        self.out.flush()

    def fileno(self) -> int:
        """Of the standard error below."""
        return self.out.fileno()


def _is_entry(line: str) -> bool:
    """Whether a line is an object of ours, held back by a run and printed at its end."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and {'time', 'level', 'logger', 'message'} <= entry.keys()


@contextlib.contextmanager
def own_logs() -> Iterator[None]:
    """Logs as `configure` says by default, until the context ends: then all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger(PACKAGE)
    handlers, level, our_level, stderr = list(root.handlers), root.level, ours.level, sys.stderr
    configure()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(our_level)
        sys.stderr = stderr


def configure(level: str = 'warning', form: str = TEXT) -> None:
    """Log to standard error in this form: ours from `level` up, what libraries say from 'error' up.

    Beam warns of packages that nobody asked for; what we warn of concerns the user's own files.
    """
    stream = sys.stderr.out if isinstance(sys.stderr, JsonLines) else sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == JSON else TextFormatter())
    root = logging.getLogger()
    for former in [h for h in root.handlers if isinstance(h.formatter, TextFormatter | JsonFormatter)]:
        root.removeHandler(former)
    if form == JSON or not root.handlers:  # else a program around us has its own way
        root.addHandler(handler)
        root.setLevel(logging.ERROR)
    logging.getLogger(PACKAGE).setLevel(level.upper())
    sys.stderr = JsonLines(stream) if form == JSON else stream


def add_log_options(group: Any) -> None:
    """Declare how the command logs. `group`: of a parser, or a parser."""
    add = group.add_argument
    add(
        '--log-format',
        choices=FORMATS,
        default=TEXT,
        help='of what goes to standard error: text, or json: one object a line, progress included (default: text)',
    )
    add('--log-level', choices=LEVELS, default='warning', help='what is logged of our own doing (default: warning)')
