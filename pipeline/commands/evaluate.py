"""`stembeam evaluate`: scores of a model, or of stems that exist already, on a data set of isolated stems."""

from __future__ import annotations

import argparse
from typing import Any

from ..exit_status import OK, WITH_FAILURES
from ..logs import configure
from ..options import add_model_options
from ..parsing import (
    Parser,
    add_network_options,
    add_run_options,
    asks_for_help,
    count,
    parse_with_beam,
    positive_seconds,
)
from ..stores import add_storage_options, add_trust_option

PROG = 'stembeam evaluate'


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 3 if tracks have no scores. Raises UsageError and RunError."""
    if asks_for_help(arguments):
        evaluate_parser().print_help()
        return OK
    options, beam_options = parse_evaluate(arguments)
    configure(options.log_level, options.log_format)

    from ..evaluate import evaluate, summary  # heavy: after bad options had their say

    outcome = evaluate(options, beam_options)
    print(summary(outcome, options))
    return WITH_FAILURES if outcome.failures else OK


def parse_evaluate(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of `stembeam evaluate`, and Beam's. Raises UsageError (see `parse_with_beam`)."""
    return parse_with_beam(PROG, add_evaluate_options, arguments)


def evaluate_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam evaluate`, for our options alone."""
    parser = Parser(
        prog=PROG,
        description='Separate the tracks of a data set and score the stems by BSSEval version 4, as museval does. Run '
        'again, it goes on where it stopped.',
        epilog='Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself failed.',
    )
    add_evaluate_options(parser)
    return parser


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stembeam evaluate`."""
    add = parser.add_argument
    add(
        'inputs',
        nargs='*',
        metavar='DATASET',
        help='a folder of the form [subset/]<song>/<stem>.wav (MUSDB18-HQ; any audio format) or of .stem.mp4 files '
        "(MUSDB18), or Spleeter's CSV manifest (mix_path, <stem>_path...); local or of any fsspec file system",
    )
    add('-o', '--output', metavar='OUT', help='output folder, local or an fsspec URL')
    add(
        '--subset',
        metavar='NAME',
        help='score this subset; all: every track (default: test, or everything where there is no such folder)',
    )
    add('--data', metavar='FOLDER', help="folder of relative paths in manifests (default: the manifest's own)")
    add(
        '--estimates',
        metavar='FOLDER',
        help='score the stems in this folder, [subset/]<song>/<stem>.<ext>, in place of separating',
    )
    add('--sample-rate', type=count, metavar='HZ', help='at which --estimates are scored (default: 44100)')
    add_model_options(parser.add_argument_group('model and method'))
    parser.set_defaults(model=None)  # to tell whether one is given; its help says which one it is
    _add_score_options(parser.add_argument_group('scores'))
    run = parser.add_argument_group('run')
    run.add_argument('--overwrite', action='store_true', help='score tracks again that are scored')
    add_run_options(run)
    add_network_options(run)
    stores = parser.add_argument_group('object stores')
    add_storage_options(stores)
    add_trust_option(stores, 'manifest')


def _add_score_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        '--window',
        type=positive_seconds,
        default=1.0,
        metavar='S',
        help="seconds of a frame (default: 1, as museval's)",
    )
    add('--hop', type=positive_seconds, metavar='S', help='seconds from frame to frame (default: back to back)')
    add(
        '--scorer',
        choices=['stembeam', 'museval'],
        default='stembeam',
        help="who computes: stembeam: our BSSEval, with museval's scores, many times as fast; museval: its own code "
        '(default: stembeam)',
    )
