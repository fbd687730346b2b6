"""How commands read their words: a parser whose errors are UsageErrors, value types, and Beam's options beside ours.

Options that are not ours are Beam's. They are parsed by Beam's own declarations, so that a word that nobody knows is an
error and not silently dropped.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

from ..model.batch_size import GPU_BATCH_SIZE
from ..model.errors import UsageError
from .logs import add_log_options

STORE_HELP = 'folder that models are fetched to (default: STEMBEAM_MODELS, or ~/.cache/stembeam/models)'
MIRROR_HELP = (
    'folder or URL (https, file, gs, s3, ...) with the archives of published models '
    "(default: STEMBEAM_MODEL_MIRROR, or Spleeter's release)"
)


class Parser(argparse.ArgumentParser):
    """Errors become UsageErrors: one line, and the command line's own exit status. Options are not abbreviated."""

    def __init__(self, **options: Any) -> None:
        """As ArgumentParser; the parsers of actions (`add_subparsers`) are made in the same way."""
        # An abbreviation would mean something else, or nothing, once there is another option.
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f'{message}: see {self.prog} --help')


def seconds(text: str) -> float:
    """A time of 0 seconds or more."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < float('inf'):
            return float(text)
    raise argparse.ArgumentTypeError(f'{text!r} is not a number of seconds')


def positive_seconds(text: str) -> float:
    """A time of more than 0 seconds."""
    value = seconds(text)
    if value == 0:
        raise argparse.ArgumentTypeError('0 seconds would separate nothing')
    return value


def share(text: str) -> float:
    """A share of a whole, from 0 up and below 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f'{text!r} is not a share: give a number from 0 up and below 1')


def count(text: str) -> int:
    """A whole number from 1 up."""
    with contextlib.suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f'{text!r} is not 1 or more: give a whole number')


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(',') if name.strip())


def accelerator(text: str) -> str:
    """An accelerator as Dataflow writes it: parts separated by semicolons, type and count among them."""
    parts = [part.partition(':') for part in text.split(';')]
    found = {name: value for name, _, value in parts}
    if found.get('type') and found.get('count', '').isdecimal() and len(found) == len(parts):
        return text
    raise argparse.ArgumentTypeError(f'{text!r} is not an accelerator: write type:nvidia-l4;count:1;...')


def add_run_options(parser: Any) -> None:
    """Declare where a pipeline runs, and what it shows. `parser`: or a group of one."""
    add = parser.add_argument
    add('--workers', type=count, metavar='N', help='of a local run (default: one for each core)')
    add('--runner', metavar='RUNNER', help="Beam's runner (default: in this process); further options go to Beam")
    add(
        '--progress',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='show progress on standard error (default: yes)',
    )
    add_log_options(parser)


def add_network_options(parser: Any) -> None:
    """Declare how the network is computed. `parser`: or a group of one."""
    parser.add_argument(
        '--batch-size',
        type=count,
        metavar='N',
        help=f'chunks that the network takes at once (default: 1, and {GPU_BATCH_SIZE} on a GPU)',
    )


def asks_for_help(arguments: list[str]) -> bool:
    """Whether -h or --help is among the options."""
    end = arguments.index('--') if '--' in arguments else len(arguments)
    return bool({'-h', '--help'} & set(arguments[:end]))


def parse_with_beam(
    prog: str, add_options: Callable[[argparse.ArgumentParser], None], arguments: list[str]
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of a command, and Beam's as a dictionary for PipelineOptions (only those that were given).

    Args:
      prog: the command as the user types it, for errors.
      add_options: declares the command's own options; its inputs are the positional argument `inputs`.
      arguments: the words after the command.

    Raises:
      UsageError: an option or a value that neither we nor Beam know.
    """
    from apache_beam.options import pipeline_options

    parser = Parser(prog=prog, add_help=False, conflict_handler='resolve', argument_default=None)
    beam_parser = pipeline_options._BeamArgumentParser(add_help=False, conflict_handler='resolve', allow_abbrev=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        if options.__module__ == pipeline_options.__name__:
            options._add_argparse_args(beam_parser)
    own = argparse.ArgumentParser(add_help=False)
    add_options(own)
    ours = {name for action in own._actions for name in action.option_strings}
    for action in beam_parser._actions:
        # Ours win where names collide; defaults are suppressed to see what was given.
        if not set(action.option_strings) & ours:
            action.default = argparse.SUPPRESS
            parser._add_action(action)
    beam_names = {action.dest for action in parser._actions}
    add_options(parser)
    # Inputs may stand anywhere between options; what follows '--' is none, whatever it looks like.
    end = arguments.index('--') if '--' in arguments else len(arguments)
    parsed = vars(parser.parse_intermixed_args(arguments[:end]))
    parsed['inputs'] = [*parsed['inputs'], *arguments[end + 1 :]]
    beam = {name: parsed.pop(name) for name in list(parsed) if name in beam_names}
    return argparse.Namespace(**parsed), beam
