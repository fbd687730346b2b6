"""The options of `stembeam separate`, each declared once: name, type, default, help.

Spleeter's own names are taken too: its short flags are the short flags of ours, its long ones are not shown.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..model.errors import UsageError
from ..model.method import HIGH_BANDS, MASKS, RESIDUAL, Method
from ..model.store import DEFAULT_MODEL
from ..transforms.formats import FORMATS
from ..transforms.naming import LAYOUTS
from ..transforms.watchdog import DECODE_TIMEOUT, MOST_CRASHES
from .parsing import (
    MIRROR_HELP,
    STORE_HELP,
    Parser,
    accelerator,
    add_network_options,
    add_run_options,
    count,
    names,
    parse_with_beam,
    positive_seconds,
    seconds,
    share,
)
from .presets import find_preset, preset_names
from .stores import add_storage_options, add_trust_option


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
    add_model_options(parser.add_argument_group('model and method'))
    _add_stem_options(parser.add_argument_group('stems'))
    _add_track_options(parser.add_argument_group('tracks'))
    _add_run_options(parser.add_argument_group('run'))
    stores = parser.add_argument_group('object stores')
    add_storage_options(stores)
    add_trust_option(stores)
    _add_dataflow_options(parser.add_argument_group('Dataflow'))
    _add_spleeter_names(parser)


def add_model_options(group: argparse._ArgumentGroup) -> None:
    """Declare what chooses a model and the method of separation (see `method_of`)."""
    add = group.add_argument
    add(
        '-p',
        '--model',
        metavar='MODEL',
        default=DEFAULT_MODEL,
        help="mini; Spleeter's 2stems, 4stems or 5stems, also with -16kHz behind and spleeter: in front; a model "
        f'folder; a Spleeter JSON file; an fsspec URL of one (default: {DEFAULT_MODEL}); see stembeam models',
    )
    add('--model-store', metavar='DIR', help=STORE_HELP)
    add('--model-mirror', metavar='URL', help=MIRROR_HELP)
    add('--stems', type=names, metavar='NAMES', help='stems to write, separated by commas (default: all)')
    add(
        '--mwf',
        action='store_true',
        help="multichannel Wiener filter over each whole track, as Spleeter's; with it no stem has anything above the "
        'bins that the network sees, unless --high-band says otherwise',
    )
    add(
        '--mwf-iterations', type=count, metavar='N', help="of the Wiener filter, implies --mwf (default: 1, Spleeter's)"
    )
    add(
        '--masks',
        choices=MASKS,
        default='ratio',
        help="ratio: stems share out the mixture (Spleeter's, the default); direct: each network's own estimate, so "
        "that --stems computes nothing else (not Spleeter's; not for softmax models, nor with --mwf)",
    )
    add(
        '--overlap',
        type=share,
        default=0.0,
        metavar='SHARE',
        help="share of a chunk that overlaps the next, with cross-faded masks, below 0.5 (default: 0, Spleeter's)",
    )
    add(
        '--high-band',
        choices=HIGH_BANDS,
        default='model',
        help="stems above the bins that the network sees: model: as its configuration says (Spleeter's, the default); "
        'zeros: nothing; average, octave: the mixture by the mean mask of all seen bins, or of their highest octave',
    )
    add(
        '--residual',
        action='store_true',
        help=f"write one more stem, {RESIDUAL}: the mixture minus the stems that are written (not Spleeter's)",
    )


def _add_stem_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add('-c', '--format', default='wav', metavar='FORMAT', help=f'{", ".join(FORMATS)} (default: wav, 16 bit)')
    add('-b', '--bitrate', metavar='RATE', help="of lossy formats, as in 192k (default: the format's)")
    add('--sample-rate', type=count, metavar='HZ', help="of the stems (default: the model's)")
    add(
        '--layout',
        choices=LAYOUTS,
        default='stembeam',
        help='where stems go: stembeam: below OUT/stems; spleeter: where Spleeter puts them, right below OUT '
        '(default: stembeam)',
    )
    patterns = [f'{layout.pattern} in layout {name}' for name, layout in LAYOUTS.items()]
    add(
        '-f',
        '--filename-format',
        metavar='PATTERN',
        help=f'of stem files below the folder of the layout (default: {", ".join(patterns)})'.replace('%', '%%'),
    )
    add(
        '--features',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='compute features of the stems and the mixture (default: yes)',
    )
    add('--features-only', action='store_true', help='keep the features alone, and no stem files')


def _add_track_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        '-s',
        '--offset',
        type=seconds,
        default=0.0,
        metavar='S',
        help='seconds of every track to leave out (default: 0)',
    )
    add(
        '-d', '--duration', type=positive_seconds, metavar='S', help='seconds of every track to separate (default: all)'
    )
    add('--allow-truncated', action='store_true', help='take what there is of files shorter than their header promises')
    add('--decoder', default='auto', choices=['auto', 'soundfile', 'av', 'tfio'], help='audio reader (default: auto)')
    add(
        '--decode-timeout',
        type=positive_seconds,
        default=DECODE_TIMEOUT,
        metavar='S',
        help='seconds after which a decoder that gives nothing counts as hung, and its track as failed '
        f'(default: {DECODE_TIMEOUT:.0f})',
    )
    add(
        '--max-crashes',
        type=count,
        default=MOST_CRASHES,
        metavar='N',
        help='processes that may die while a track is under way before it counts as failed; one that breaks the '
        f'decoder fails sooner (default: {MOST_CRASHES})',
    )
    add('--overwrite', action='store_true', help='make tracks again that are complete')


def _add_run_options(group: argparse._ArgumentGroup) -> None:
    add_run_options(group)
    group.add_argument(
        '--chunks-per-segment',
        type=count,
        metavar='N',
        help='cut tracks into segments of at most N chunks of 11.9 s; stems do not depend on it (default: tracks of '
        'up to six minutes whole, longer ones in pieces of 4)',
    )
    add_network_options(group)
    group.add_argument(
        '--preset',
        metavar='NAME',
        help=f'options from a file: {", ".join(preset_names())}, or a JSON file of your own; the command line wins',
    )
    group.add_argument(
        '--dry-run',
        '--dry_run',
        action='store_true',
        help='say what would run and where; nothing is written, fetched or started, and no network is used',
    )
    group.add_argument(
        '--wait',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='wait for the end of a job that runs elsewhere (default: yes)',
    )


def _add_dataflow_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        '--accelerator',
        type=accelerator,
        metavar='SPEC',
        help='GPU of the workers that separate, as in type:nvidia-l4;count:1;machine_type:g2-standard-16;'
        'install-nvidia-driver',
    )
    add(
        '--accelerator-on',
        choices=['inference', 'workers'],
        default='inference',
        help='who has the accelerator: inference: the workers of the steps that call the network alone (right fitting, '
        'the default); workers: all of them',
    )
    add(
        '--inference-ram',
        metavar='SIZE',
        help='least memory of the workers that separate, as in 48GB; not with --accelerator-on workers',
    )


# Spleeter's long name -> ours. Its short ones are ours too.
SPLEETER_NAMES = {
    '--params_filename': 'model',
    '--output_path': 'output',
    '--filename_format': 'filename_format',
    '--codec': 'format',
}
# Spleeter's options that have no counterpart -> what to do.
SPLEETER_ONLY = {
    ('-i', '--inputs'): 'name the inputs without it',
    ('-a', '--adapter'): 'leave it out; every format is read without FFmpeg, and --decoder chooses the reader',
    ('-B', '--stft-backend'): 'leave it out; there is one transform, with the samples of theirs',
    ('--verbose',): 'leave it out; progress is shown, and every failure is told',
}


class _NoCounterpart(argparse.Action):
    """An error that says what to do instead of an option of Spleeter's."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        cure = next(cure for options, cure in SPLEETER_ONLY.items() if option in options)
        parser.error(f"{option} is Spleeter's and has no counterpart here: {cure}")


def _add_spleeter_names(parser: argparse.ArgumentParser) -> None:
    """Options of Spleeter under their own names, not shown in the help."""
    for name, ours in SPLEETER_NAMES.items():
        parser.add_argument(name, dest=ours, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    for options in SPLEETER_ONLY:
        parser.add_argument(
            *options, nargs='?', action=_NoCounterpart, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def method_of(options: argparse.Namespace) -> Method:
    """The method that options describe, not checked against a model yet."""
    return Method(
        stems=options.stems,
        masks=options.masks,
        mwf_iterations=options.mwf_iterations or int(options.mwf),
        overlap=options.overlap,
        high_band=options.high_band,
        residual=options.residual,
    )


def separate_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam separate`, for our options alone."""
    parser = Parser(
        prog='stembeam separate',
        description='Separate a corpus of audio into stems, with features of every stem.',
        epilog="Spleeter's options mean what they mean there, the long ones too (--params_filename, --output_path, "
        '--filename_format, --codec). Exit status: 0 all done, 3 finished with failures, 2 bad usage, 1 the run itself '
        'failed.',
    )
    add_separate_options(parser)
    return parser


def parse_separate(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of `stembeam separate`, and Beam's; those of a preset among them. Raises UsageError."""
    preset = find_preset(arguments)
    if preset is None:
        return parse_with_beam('stembeam separate', add_separate_options, arguments)
    try:
        parse_with_beam('stembeam separate', add_separate_options, preset.words)
    except UsageError as error:
        raise UsageError(f'preset {preset.where}: {error}') from error
    return parse_with_beam('stembeam separate', add_separate_options, [*preset.words, *arguments])
