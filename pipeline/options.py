"""The options of `stembeam separate`, each declared once: name, type, default, help."""

from __future__ import annotations

import argparse
from typing import Any

from ..model.store import DEFAULT_MODEL
from ..transforms.formats import FORMATS
from ..transforms.naming import DEFAULT_PATTERN
from .parsing import Parser, count, names, parse_with_beam, positive_seconds, seconds


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
    add('--stems', type=names, metavar='NAMES', help='stems to write, separated by commas (default: all)')
    add('--format', default='wav', metavar='FORMAT', help=f'of the stems: {", ".join(FORMATS)} (default: wav, 16 bit)')
    add('--bitrate', metavar='RATE', help="of lossy formats, as in 192k (default: the format's)")
    add('--sample-rate', type=count, metavar='HZ', help="of the stems (default: the model's)")
    add(
        '--features',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='compute features of the stems and the mixture (default: yes)',
    )
    add('--offset', type=seconds, default=0.0, metavar='S', help='seconds of every track to leave out (default: 0)')
    add('--duration', type=positive_seconds, metavar='S', help='seconds of every track to separate (default: all)')
    add(
        '--filename-format',
        default=DEFAULT_PATTERN,
        metavar='PATTERN',
        help=f'of stem files under OUT/stems (default: {DEFAULT_PATTERN})'.replace('%', '%%'),
    )
    add('--allow-truncated', action='store_true', help='take what there is of files shorter than their header promises')
    add('--decoder', default='auto', choices=['auto', 'soundfile', 'av', 'tfio'], help='audio reader (default: auto)')
    add('--overwrite', action='store_true', help='make tracks again that are complete')
    add('--workers', type=count, metavar='N', help='of a local run (default: one for each core)')
    add('--runner', metavar='RUNNER', help="Beam's runner (default: in this process); further options go to Beam")
    add(
        '--chunks-per-segment',
        type=count,
        metavar='N',
        help='cut tracks into segments of at most N chunks of 11.9 s; stems do not depend on it (default: tracks of '
        'up to six minutes whole, longer ones in pieces of 4)',
    )
    add('--batch-size', type=count, default=1, metavar='N', help='chunks that the network takes at once (default: 1)')
    add(
        '--progress',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='show progress on standard error (default: yes)',
    )


def separate_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam separate`, for our options alone."""
    parser = Parser(
        prog='stembeam separate',
        description='Separate a corpus of audio into stems, with features of every stem.',
        epilog='Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself failed.',
        allow_abbrev=False,
    )
    add_separate_options(parser)
    return parser


def parse_separate(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of `stembeam separate`, and Beam's. Raises UsageError (see `parse_with_beam`)."""
    return parse_with_beam('stembeam separate', add_separate_options, arguments)
