"""The options of the command line, each declared once: name, type, default, help.

Options that are not ours are Beam's. They are parsed by Beam's own declarations, so that a word that nobody knows is an
error and not silently dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any, NoReturn

from ..model.errors import UsageError
from ..model.store import DEFAULT_MODEL
from ..transforms.formats import FORMATS
from ..transforms.naming import DEFAULT_PATTERN


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class _Parser(argparse.ArgumentParser):
    """Errors become UsageErrors: one line, and the command line's own exit status."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f'{message}: see {self.prog} --help')


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < float('inf'):
            return float(text)
    raise argparse.ArgumentTypeError(f'{text!r} is not a number of seconds')


def _positive_seconds(text: str) -> float:
    value = _seconds(text)
    if value == 0:
        raise argparse.ArgumentTypeError('0 seconds would separate nothing')
    return value


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f'{text!r} is not 1 or more: give a whole number')


def _stems(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())


def add_separate_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stembeam separate`."""
    add = parser.add_argument
    add(
        'inputs',
        nargs='*',
        metavar='INPUT',
        help='audio or video files, folders, glob patterns, text lists, or tables (.csv, .jsonl, .parquet) with a '
        "column 'uri'; local or of any fsspec file system; - reads a list from standard input",
    )
    add('-o', '--output', metavar='OUT', help='output folder, local or an fsspec URL')
    add('--model', default=DEFAULT_MODEL, help=f'{DEFAULT_MODEL}, a model folder, or a Spleeter JSON file')
    add('--stems', type=_stems, metavar='NAMES', help='stems to write, separated by commas (default: all)')
    add('--format', default='wav', metavar='FORMAT', help=f'of the stems: {", ".join(FORMATS)} (default: wav, 16 bit)')
    add('--bitrate', metavar='RATE', help="of lossy formats, as in 192k (default: the format's)")
    add('--sample-rate', type=_count, metavar='HZ', help="of the stems (default: the model's)")
    add(
        '--features',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='compute features of the stems and the mixture (default: yes)',
    )
    add('--offset', type=_seconds, default=0.0, metavar='S', help='seconds of every track to leave out (default: 0)')
    add('--duration', type=_positive_seconds, metavar='S', help='seconds of every track to separate (default: all)')
    add(
        '--filename-format',
        default=DEFAULT_PATTERN,
        metavar='PATTERN',
        help=f'of stem files under OUT/stems (default: {DEFAULT_PATTERN})'.replace('%', '%%'),
    )
    add('--allow-truncated', action='store_true', help='take what there is of files shorter than their header promises')
    add('--decoder', default='auto', choices=['auto', 'soundfile', 'av', 'tfio'], help='audio reader (default: auto)')
    add('--overwrite', action='store_true', help='make tracks again that are complete')
    add('--workers', type=_count, metavar='N', help='of a local run (default: one for each core)')
    add('--runner', metavar='RUNNER', help="Beam's runner (default: in this process); further options go to Beam")
    add(
        '--chunks-per-segment',
        type=_count,
        metavar='N',
        help='cut tracks into segments of at most N chunks of 11.9 s; stems do not depend on it (default: tracks of '
        'up to six minutes whole, longer ones in pieces of 4)',
    )
    add('--batch-size', type=_count, default=1, metavar='N', help='chunks that the network takes at once (default: 1)')
    add(
        '--progress',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='show progress on standard error (default: yes)',
    )


def separate_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam separate`, for our options alone."""
    parser = _Parser(
        prog='stembeam separate',
        description='Separate a corpus of audio into stems, with features of every stem.',
        epilog='Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself failed.',
        allow_abbrev=False,
    )
    add_separate_options(parser)
    return parser


def parse_separate(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Our options, and Beam's as a dictionary for PipelineOptions (only those that were given).

    Raises:
      UsageError: an option or a value that neither we nor Beam know.
    """
    from apache_beam.options import pipeline_options

    parser = _Parser(
        prog='stembeam separate', allow_abbrev=False, add_help=False, conflict_handler='resolve', argument_default=None
    )
    beam_parser = pipeline_options._BeamArgumentParser(add_help=False, conflict_handler='resolve', allow_abbrev=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        if options.__module__ == pipeline_options.__name__:
            options._add_argparse_args(beam_parser)
    ours = _names(separate_parser())
    for action in beam_parser._actions:
        # Ours win where names collide; defaults are suppressed to see what was given.
        if not set(action.option_strings) & ours:
            action.default = argparse.SUPPRESS
            parser._add_action(action)
    beam_names = {action.dest for action in parser._actions}
    add_separate_options(parser)
    # Inputs may stand anywhere between options; what follows '--' is none, whatever it looks like.
    end = arguments.index('--') if '--' in arguments else len(arguments)
    parsed = vars(parser.parse_intermixed_args(arguments[:end]))
    parsed['inputs'] = [*parsed['inputs'], *arguments[end + 1 :]]
    beam = {name: parsed.pop(name) for name in list(parsed) if name in beam_names}
    return argparse.Namespace(**parsed), beam


def _names(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}
