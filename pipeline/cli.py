"""The command `stembeam`: finds the module of a command, and turns its errors into lines and exit statuses."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from ..model.errors import RunError, StembeamError, UsageError
from ..model.hiding import without_secrets
from .exit_status import BAD_USAGE, INTERRUPTED, OK, RUN_FAILED
from .logs import own_logs
from .supervising import is_supervised, supervise

# Command -> (its words, what it does): the module is commands/<command>.py.
COMMANDS = {
    'separate': ('INPUT... -o OUT', 'separate a corpus into stems, with features'),
    'models': ('list | fetch | show', 'separation models: which there are, and bringing them here'),
    'prepare': ('DATASET... -o SHARDS', 'cut data sets of isolated stems into shards to train on'),
    'train': ('--config CONFIG.json -o MODEL', 'train a model on shards or a table of songs, or train one further'),
    'export': ('MODEL -o FOLDER', 'a model as the checkpoint that Spleeter loads'),
    'evaluate': ('DATASET -o OUT', 'score a model, or stems, on a data set, beside the numbers of the paper'),
    'estimate': ('LISTING | --tracks N', 'hours, storage and money that a run would take'),
    'generate': ('BANK', 'render generated songs with their stems to train on'),
    'doctor': ('', 'check that this machine has all that a run needs'),
    'status': ('OUT', 'how far the run that writes to OUT is, wherever it runs'),
    'example': ('FOLDER', 'write three short generated songs to try it on'),
}

SUPERVISED = 'separate'  # the command that is started again when its process dies


def usage() -> str:
    """The help of the command itself."""
    words = {name: f'{name} {arguments}' for name, (arguments, _) in COMMANDS.items()}
    width = max(map(len, words.values())) + 2
    lines = [f'  {words[name]:{width}}{purpose}' for name, (_, purpose) in COMMANDS.items()]
    head, more = 'usage: stembeam COMMAND ...', 'stembeam COMMAND --help says more, --version which one this is.'
    return '\n'.join([head, '', 'commands:', *lines, '', more])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run failed.

    Without `arguments` it is the process' own command, whose threads Ctrl-C ends together with the process.
    """
    if arguments is None and not is_supervised() and sys.argv[1:2] == [SUPERVISED]:
        return supervise()
    status = _run(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _end(status)
    return status


def _run(arguments: Sequence[str]) -> int:
    """Run a command in this process; returns the exit status."""
    with own_logs():
        try:
            return _dispatch(list(arguments))
        except UsageError as error:
            print(f'stembeam: {without_secrets(str(error))}', file=sys.stderr)
            return BAD_USAGE
        except RunError as error:
            print(f'stembeam: {without_secrets(str(error))}', file=sys.stderr)
            return RUN_FAILED
        except KeyboardInterrupt:
            print(
                'stembeam: interrupted; what is complete is kept, the same command goes on from here', file=sys.stderr
            )
            return INTERRUPTED


def _end(status: int) -> NoReturn:
    """End this process at once, with all its threads.

    Python would take TensorFlow apart, which lasts more than a second; and after Ctrl-C it would wait for threads,
    which fail loudly at what it has closed.
    """
    atexit._run_exitfuncs()  # temporary files
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:  # a full disk, or a reader that has gone
            status = status or RUN_FAILED
            with contextlib.suppress(OSError):
                os.write(2, f'stembeam: {stream.name} cannot be written: {error.strerror}\n'.encode())
    os._exit(status)


def _dispatch(arguments: list[str]) -> int:
    command = arguments[0] if arguments else '--help'
    if command in ('-h', '--help'):
        print(usage())
        return OK if arguments else BAD_USAGE
    if command == '--version':
        print(importlib.metadata.version('stembeam'))
        return OK
    if command not in COMMANDS:
        raise UsageError(f'unknown command {command!r}: see stembeam --help')
    module = importlib.import_module(f'.commands.{command}', __package__)
    try:
        return module.main(arguments[1:])
    except (StembeamError, KeyboardInterrupt):
        raise
    except Exception as error:
        print(without_secrets(traceback.format_exc()), end='', file=sys.stderr)
        raise RunError(
            f'the run failed ({type(error).__name__}); what is complete is kept: see the lines above'
        ) from error


if __name__ == '__main__':
    sys.exit(main())
