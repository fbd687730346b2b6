"""`stembeam train`: train a separation model, or train one further."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ...model.training.freezing import FREEZABLE
from ..clock import clock
from ..exit_status import OK
from ..parsing import Parser, asks_for_help
from ..stores import add_storage_options, put_in_force

if TYPE_CHECKING:
    from ...model.training.plan import Plan
    from ...model.training.reporting import Moment
    from ...model.training.trainer import Outcome

DISTRIBUTIONS = ('none', 'data-parallel')
LINE_SECONDS = 30.0  # between two lines where standard error is not a terminal

EXAMPLE = """
The configuration is Spleeter's JSON file; stembeam train --keys lists its keys for training. A folder that holds a run
that was stopped goes on with it. The model in it is that of the best evaluation: stembeam separate --model FOLDER.
"""


def train_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam train`."""
    parser = Parser(prog='stembeam train', description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add('--config', required=True, metavar='CONFIG.json', help="the model and its training, in Spleeter's JSON form")
    add('--shards', metavar='SHARDS', help='folder or URL that stembeam prepare wrote')
    add('--data', metavar='FOLDER', help="instead: folder that the paths in the configuration's train_csv start from")
    add('-o', '--output', metavar='MODEL', help="folder of the trained model (default: the configuration's model_dir)")
    add(
        '--init-from',
        action='append',
        default=[],
        metavar='MODEL',
        help='start from the weights of a model; stems are matched by name, others start fresh. Given several times, '
        'each stem comes from the first model that has it',
    )
    add(
        '--freeze',
        nargs='+',
        default=[],
        metavar='PART',
        help=f'what of those weights does not change: {", ".join(FREEZABLE)}, or stems. encoder and decoder are the '
        'layers down and up with their batch norms (the head belongs to the decoder), norms all batch norms, whose '
        'statistics stand still too',
    )
    add(
        '--distribution',
        choices=DISTRIBUTIONS,
        default='none',
        help="spread every batch over all devices by Keras' distribution (default: one device)",
    )
    add('--keys', action='store_true', help='list the keys of the configuration and exit')
    add_storage_options(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0. Raises UsageError and RunError."""
    if asks_for_help(arguments):
        train_parser().print_help()
        return OK
    from ...model.training.settings import describe_keys

    if '--keys' in arguments:
        print(describe_keys(), end='')
        return OK
    options = train_parser().parse_args(arguments)
    put_in_force(options)

    from ...model.training.plan import plan_run

    plan = plan_run(
        options.config,
        shards=options.shards,
        data=options.data,
        output=options.output,
        init_from=options.init_from,
        freeze=options.freeze,
        distribution=options.distribution,
    )
    from ...model.training.trainer import train  # heavy: after a bad configuration had its say

    listener = Lines()
    outcome = train(plan, listener)
    listener.close()
    print(summary(plan, outcome))
    return OK


def summary(plan: Plan, outcome: Outcome) -> str:
    """What came out, for people."""
    counters = outcome.counters
    if outcome.was_finished:
        head = f'finished already, at step {counters.step}: nothing to do (more train_max_steps, or another folder)'
    else:
        head = f'finished at step {counters.step}' + (', early' if counters.stopped else '')
    lines = [head]
    if math.isfinite(counters.best_loss):
        first = f', from {counters.first_loss:.5g}' if math.isfinite(counters.first_loss) else ''
        lines.append(f'validation loss {counters.best_loss:.5g} at step {counters.best_step}{first}')
    else:
        lines.append('no validation data: the model is that of the last step')
    lines.append(f'model      {plan.folder}')
    return '\n'.join(lines)


def progress_line(moment: Moment) -> str:
    """One line: step, losses, speed, time left."""
    parts = [f'step {moment.step}/{moment.steps}', f'loss {moment.losses["loss"]:.4g}']
    if math.isfinite(moment.validation):
        parts.append(f'validation {moment.validation:.4g} (best {moment.best:.4g})')
    if math.isfinite(moment.chunks_per_second):
        parts += [f'{moment.chunks_per_second:.2f} chunks/s', f'{clock(moment.seconds_left)} left']
    return ', '.join(parts)


class Lines:
    """Shows a run on standard error: one line that is written over on a terminal, elsewhere a line now and then."""

    def __init__(self, out: Any = None) -> None:
        """`out`: standard error, as it is now, if None."""
        self._out = sys.stderr if out is None else out
        self._terminal = self._out.isatty()
        self._shown = -math.inf

    def tell(self, line: str) -> None:
        """A line that stays."""
        print(('\r\x1b[K' if self._terminal else '') + line, file=self._out, flush=True)

    def show(self, moment: Moment) -> None:
        """How far the run is."""
        if self._terminal:
            print(f'\r\x1b[K{progress_line(moment)}', end='', file=self._out, flush=True)
        elif time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            print(progress_line(moment), file=self._out, flush=True)

    def close(self) -> None:
        """Take the last line back."""
        if self._terminal:
            print('\r\x1b[K', end='', file=self._out, flush=True)
