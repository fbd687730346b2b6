"""`stembeam status`: how far a run is, wherever it runs, told from its output folder."""

from __future__ import annotations

import json
import time

from ..exit_status import OK
from ..parsing import Parser, positive_seconds


def status_parser() -> Parser:
    """The parser of `stembeam status`."""
    parser = Parser(
        prog='stembeam status',
        description='How far the run that writes to OUT is, or how it ended. Reads OUT alone: the run may go on '
        'anywhere. Failed tracks are known at its end, but for those whose header could not be read.',
    )
    parser.add_argument('output', metavar='OUT', help='output folder of stembeam separate, local or an fsspec URL')
    parser.add_argument('--json', action='store_true', help='print JSON objects, one a line')
    parser.add_argument(
        '--watch', type=positive_seconds, metavar='SECONDS', help='look again and again until the run has finished'
    )
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0. Raises UsageError (no run there) and RunError (the store does not answer)."""
    parser = status_parser()

    from ..stores import add_storage_options, put_in_force

    add_storage_options(parser.add_argument_group('stores'))
    options = parser.parse_args(arguments)
    put_in_force(options)

    from ...transforms.storage import Storage
    from ..status import FINISHED, StatusWatch

    watch = StatusWatch(Storage.at(options.output))
    while True:
        status = watch.look()
        print(json.dumps(status.to_json()) if options.json else '\n'.join(status.lines()), flush=True)
        if options.watch is None or status.state == FINISHED:
            return OK
        time.sleep(options.watch)
