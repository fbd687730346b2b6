"""A local run outlives its process: a light parent starts it, and starts it again when it dies.

Stands on the standard library alone, so that the parent is there at once and needs next to no memory. The one idea:
what a run has done is in OUT, and what it was doing is in marks (transforms/attempts.py), so starting it again is all
that there is to do about a crash, the kernel's out-of-memory killer or a decoder that hangs. Parent and child share a
folder of this command, in which the child says that it can be started again, and that it gets on; the child dies with
its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from ..transforms.watchdog import HUNG
from .exit_status import ASKS_AGAIN, RUN_FAILED
from .logs import configure

VARIABLE = 'STEMBEAM_SUPERVISOR'  # what a child is told: a pipe, how often workers are halved, the folder
MARKS = 'marks'  # where attempts.py has its files
PROGRESS = os.path.join(MARKS, 'progress')  # attempts.PROGRESS_FILE
RETRIES = 'retries'
STATE = 'state.json'  # what the run has to know when it is started again; if it is there, it can be
ASKED = 'asked.json'  # why the child asks to be started again
TEMPORARY = 'tmp'  # the child's temporary files, copies of remote tracks among them; they go when it does
# Starts in a row without progress, after which nothing more is to be expected: more than a track that kills its
# process without being told apart from those beside it needs to be found out.
MOST_IDLE_STARTS = 5
# Deaths by SIGKILL, which mostly is the kernel's that has no memory left, after each of which workers are halved; the
# first one may have been anybody's.
FREE_KILLS = 1
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # somebody wants us to end


class Death(NamedTuple):
    """How a child ended that did not come to its end."""

    reason: str
    is_kill: bool  # by SIGKILL


class Supervision:
    """The child's side: what it may ask its parent, and tell it."""

    def __init__(self, folder: str, halvings: int) -> None:
        """`folder` is shared with the parent, which wants workers halved so often."""
        self.folder = folder
        self._halvings = halvings

    @property
    def marks(self) -> str:
        """The folder for the marks of tracks under way."""
        return os.path.join(self.folder, MARKS)

    @property
    def retries(self) -> str:
        """The file that counts the requests to stores which were made again."""
        return os.path.join(self.folder, RETRIES)

    def fewer(self, workers: int) -> int:
        """How many of so many workers this start of the run may have."""
        return max(1, workers >> self._halvings)

    def recall(self) -> dict[str, Any] | None:
        """What the first start of this command has told; None in the first start itself."""
        try:
            with open(os.path.join(self.folder, STATE), encoding='utf-8') as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def remember(self, state: dict[str, Any]) -> None:
        """Tell it: from now on the run can be started again."""
        new = os.path.join(self.folder, f'{STATE}.new')
        with open(new, 'w', encoding='utf-8') as file:
            json.dump(state, file)
        os.replace(new, os.path.join(self.folder, STATE))

    def ask_again(self, reason: str, is_kill: bool) -> NoReturn:
        """End this process, to be started again."""
        with open(os.path.join(self.folder, ASKED), 'w', encoding='utf-8') as file:
            json.dump(Death(reason, is_kill), file)
        raise SystemExit(ASKS_AGAIN)


_supervision: Supervision | None = None


def supervision() -> Supervision | None:
    """The supervision of this process; None if nobody starts it again."""
    return _supervision


def is_supervised() -> bool:
    """Whether this process was started by `supervise`; from then on it lives no longer than its parent."""
    global _supervision
    told = os.environ.pop(VARIABLE, None)  # not for its own children
    if told is not None:
        pipe, halvings, folder = told.split(':', 2)
        os.set_inheritable(int(pipe), False)
        threading.Thread(target=_die_with_parent, args=(int(pipe), folder), daemon=True).start()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt_once)
        _supervision = Supervision(folder, int(halvings))
    return _supervision is not None


def _die_with_parent(pipe: int, folder: str) -> None:
    os.read(pipe, 1)  # nothing is ever written: it ends when the parent has ended
    shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt_once(number: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C reaches us from the terminal, and once more from the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def supervise() -> int:
    """Run this process' own command in a child, again and again until it comes to its end; returns the exit status."""
    folder = tempfile.mkdtemp(prefix='stembeam-run-')
    try:
        os.mkdir(os.path.join(folder, MARKS))
        with _Parent(folder).passing_signals_on() as parent:
            status = parent.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if status < 0:  # as the child ended, because somebody wanted it
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


class _Parent:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        idle = kills = 0
        while True:
            before = self._progress()
            status = self._start(max(0, kills - FREE_KILLS))
            death = self._death(status)
            if death is None:
                return status
            state = Supervision(self._folder, 0).recall()
            configure(form=(state or {}).get('log_format', 'text'))
            if state is None:
                _say(f'{death.reason} before the run began: run the same command again, with fewer --workers')
                return RUN_FAILED
            idle = idle + 1 if self._progress() == before else 0
            kills += death.is_kill
            if idle >= MOST_IDLE_STARTS:
                cure = 'with fewer --workers or more memory' if death.is_kill else 'and report it if it stays like this'
                _say(
                    f'{death.reason}, for the {idle}th time in a row without any progress: everything that is complete '
                    f'is kept; run the same command again, {cure}'
                )
                return RUN_FAILED
            fewer = death.is_kill and kills > FREE_KILLS
            _say(f'{death.reason}; it goes on from there' + (', with half as many workers' if fewer else ''))

    def _start(self, halvings: int) -> int:
        """Start the child and wait for its end; returns its status, as subprocess has it."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self._folder, ASKED))
        temporary = os.path.join(self._folder, TEMPORARY)
        shutil.rmtree(temporary, ignore_errors=True)  # of a child that died
        os.makedirs(temporary, exist_ok=True)
        theirs, ours = os.pipe()
        try:
            os.set_inheritable(theirs, True)
            # The words of our own command, whatever it was: a script, -m or -c. Inputs may be open files (/dev/fd/63).
            self._child = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, VARIABLE: f'{theirs}:{halvings}:{self._folder}', 'TMPDIR': temporary},
                close_fds=False,
            )
            return self._child.wait()
        finally:
            os.close(theirs)
            os.close(ours)

    def _death(self, status: int) -> Death | None:
        """How the child died; None if it came to its end, or was made to."""
        if status == HUNG:
            return Death('the process ended because a decoder hung', False)
        if status == ASKS_AGAIN:
            with open(os.path.join(self._folder, ASKED), encoding='utf-8') as file:
                return Death(*json.load(file))
        if status >= 0 or -status in _ENDINGS:
            return None
        return Death(f'the process died of {_signal_name(-status)}', -status == signal.SIGKILL)

    def _progress(self) -> int:
        try:
            return os.stat(os.path.join(self._folder, PROGRESS)).st_size
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def passing_signals_on(self) -> Iterator[_Parent]:
        """Whoever wants this process to end means the child."""
        former = {number: signal.getsignal(number) for number in _ENDINGS}
        for number, handler in former.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def _say(text: str) -> None:
    clear = '\r\x1b[K' if sys.stderr.isatty() else ''  # the progress of the child
    print(f'{clear}stembeam: {text}', file=sys.stderr, flush=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'
