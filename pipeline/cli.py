"""The command `stembeam`."""

from __future__ import annotations

import atexit
import importlib.metadata
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from ..model.errors import RunError, StembeamError, UsageError

OK, RUN_FAILED, BAD_USAGE, WITH_FAILURES, INTERRUPTED = 0, 1, 2, 3, 130

USAGE = """usage: stembeam COMMAND ...

commands:
  separate INPUT... -o OUT   separate a corpus into stems, with features (stembeam separate --help)
  example FOLDER             write three short generated songs to try it on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run failed.

    Without `arguments` it is the process' own command, whose threads Ctrl-C ends together with the process.
    """
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        print(f'stembeam: {error}', file=sys.stderr)
        return BAD_USAGE
    except RunError as error:
        print(f'stembeam: {error}', file=sys.stderr)
        return RUN_FAILED
    except KeyboardInterrupt:
        print('stembeam: interrupted; what is complete is kept, the same command goes on from here', file=sys.stderr)
        if arguments is None:
            atexit._run_exitfuncs()  # temporary files
            os._exit(INTERRUPTED)  # waiting for the threads, Python would let them fail loudly at what it has closed
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    command = arguments[0] if arguments else '--help'
    if command in ('-h', '--help'):
        print(USAGE, end='')
        return OK if arguments else BAD_USAGE
    if command == '--version':
        print(importlib.metadata.version('stembeam'))
        return OK
    if command == 'separate':
        return _separate(arguments[1:])
    if command == 'example':
        from .example import main as example

        return example(arguments[1:])
    raise UsageError(f'unknown command {command!r}: see stembeam --help')


def _separate(arguments: list[str]) -> int:
    from .options import parse_separate, separate_parser

    if {'-h', '--help'} & set(arguments):
        separate_parser().print_help()
        return OK
    # Beam warns of packages that nobody asked for; what we warn of concerns the user's own files.
    logging.basicConfig(level=logging.ERROR, format='%(levelname)s %(message)s')
    logging.getLogger('stembeam').setLevel(logging.WARNING)
    options, beam_options = parse_separate(arguments)

    from .launch import separate, summary

    try:
        outcome = separate(options, beam_options)
    except (StembeamError, KeyboardInterrupt):
        raise
    except Exception as error:
        traceback.print_exc()
        raise RunError(
            f'the run failed ({type(error).__name__}); what is complete is kept: see the lines above'
        ) from error
    print(summary(outcome, options))
    return WITH_FAILURES if outcome.failed else OK


if __name__ == '__main__':
    sys.exit(main())
