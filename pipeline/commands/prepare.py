"""`stembeam prepare`: data sets of isolated stems into shuffled shards of chunks to train on."""

from __future__ import annotations

import argparse
from typing import Any

from ..exit_status import OK, WITH_FAILURES
from ..logs import configure
from ..parsing import Parser, add_run_options, asks_for_help, count, names, parse_with_beam, positive_seconds, share
from ..stores import add_storage_options, add_trust_option

PROG = 'stembeam prepare'


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 3 if tracks were skipped. Raises UsageError and RunError."""
    if asks_for_help(arguments):
        prepare_parser().print_help()
        return OK
    options, beam_options = parse_prepare(arguments)
    configure(options.log_level, options.log_format)

    from ..prepare import prepare, summary  # heavy: after bad options had their say

    outcome = prepare(options, beam_options)
    print(summary(outcome))
    return WITH_FAILURES if outcome.skipped else OK


def parse_prepare(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of `stembeam prepare`, and Beam's. Raises UsageError (see `parse_with_beam`)."""
    return parse_with_beam(PROG, add_prepare_options, arguments)


def prepare_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam prepare`, for our options alone."""
    parser = Parser(
        prog=PROG,
        description='Cut data sets of isolated stems into chunks and write them, shuffled, as TFRecord shards to train '
        'on. While it runs, the output folder takes twice the room of the shards.',
        epilog='Exit status: 0 all done, 3 finished without the bad tracks, 2 bad usage, 1 the run itself failed.',
    )
    add_prepare_options(parser)
    return parser


def add_prepare_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stembeam prepare`."""
    parser.add_argument(
        'inputs',
        nargs='*',
        metavar='DATASET',
        help='folders of the form [subset/]<song>/<stem>.wav (MUSDB18-HQ; any audio format), folders of .stem.mp4 '
        "files (MUSDB18), or Spleeter's CSV manifests (mix_path, <stem>_path..., duration); local or of any fsspec "
        'file system',
    )
    parser.add_argument('-o', '--output', metavar='SHARDS', help='output folder, local or an fsspec URL')
    _add_track_options(parser)
    _add_chunk_options(parser)
    parser.add_argument('--overwrite', action='store_true', help='make shards again that are complete')
    add_run_options(parser)
    add_storage_options(parser)
    add_trust_option(parser, 'manifest')


def _add_track_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--subset',
        metavar='NAME',
        help='train on this subset of the data sets (default: train, or everything where there is no such folder)',
    )
    add(
        '--validation', action='append', metavar='DATASET', help='validate on this data set; may be given several times'
    )
    add('--validation-subset', metavar='NAME', help='validate on this subset of the data sets')
    add(
        '--validation-share',
        type=share,
        metavar='S',
        help='keep this share of the tracks for validation (default: 0.1, unless one of the two above is given)',
    )
    add('--data', metavar='FOLDER', help="folder of relative paths in manifests (default: the manifest's own)")
    add(
        '--bad-tracks',
        choices=['stop', 'skip', 'keep'],
        default='skip',
        help='what to do with tracks whose files differ in length or rate, are silent or clipped, or whose mixture is '
        'not the sum of the stems; all are reported (default: skip)',
    )
    add(
        '--max-residual',
        type=float,
        default=-15.0,
        metavar='DB',
        help='how far the mixture may be from the sum of the stems, in dB of the mixture (default: -15)',
    )
    add(
        '--max-clipped',
        type=share,
        default=1e-4,
        metavar='S',
        help='share of the samples of a stem that may be clipped (default: 0.0001)',
    )


def _add_chunk_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--stems', type=names, metavar='NAMES', help='stems to write, separated by commas (default: all)')
    add(
        '--with-mixture',
        action='store_true',
        help='write the mixture too (default: in training it is the sum of the stems)',
    )
    add('--sample-rate', type=count, default=44100, metavar='HZ', help='of the shards (default: 44100)')
    add('--channels', type=int, choices=[1, 2], default=2, help='of the shards (default: 2)')
    add('--chunk-duration', type=positive_seconds, default=20.0, metavar='S', help='seconds of a chunk (default: 20)')
    add(
        '--chunks-per-track',
        type=count,
        metavar='N',
        help='so many chunks, evenly spread over the track (default: as many as cover it, back to back)',
    )
    add('--shard-size', type=count, default=256, metavar='MB', help='about so many MB for each file (default: 256)')
    add('--seed', type=int, default=0, help='of the order of chunks and the choice for validation (default: 0)')
