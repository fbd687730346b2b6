"""`stembeam generate`: the data set that the bundled model is trained on, rendered from a seed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..exit_status import OK
from ..parsing import Parser, count, positive_seconds


def main(arguments: list[str]) -> int:
    """Render the songs that are missing and say how many there are. Raises UsageError."""
    parser = Parser(
        prog='stembeam generate',
        description='Render generated songs with their stems, in the layout of MUSDB18-HQ; run again to go on.',
    )
    parser.add_argument('folder', metavar='BANK', help='folder of the data set')
    parser.add_argument('--train-songs', type=count, default=360, help='songs to train on (default 360)')
    parser.add_argument('--test-songs', type=count, default=25, help='songs of other sounds to score on (default 25)')
    parser.add_argument('--seconds', type=positive_seconds, default=30.0, help='length of a song (default 30)')
    parser.add_argument('--seed', type=int, default=1, help='songs depend on it and on their number (default 1)')
    parser.add_argument('--workers', type=count, default=os.cpu_count(), help='processes (default: one per core)')
    options = parser.parse_args(arguments)

    from ...model.music.render_bank import BankPlan, generate_bank

    plan = BankPlan(options.train_songs, options.test_songs, options.seconds, options.seed)
    folder = Path(options.folder)
    written = generate_bank(folder, plan, options.workers, lambda line: print(line, file=sys.stderr, flush=True))
    print(f'{folder}: {written} songs rendered, {options.train_songs} train and {options.test_songs} test songs there')
    return OK
