"""`stembeam doctor`: whether this machine, or this container, has all that a run needs."""

from __future__ import annotations

import json

from ..exit_status import OK, RUN_FAILED
from ..parsing import Parser


def doctor_parser() -> Parser:
    """The parser of `stembeam doctor`."""
    parser = Parser(
        prog='stembeam doctor',
        description='Check versions, devices, codecs and models, and separate a second of audio. Needs no network. '
        'Exit status: 0 all well, 1 with a line for every problem.',
    )
    parser.add_argument('--quick', action='store_true', help='only what needs no TensorFlow: about a second')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 1 if something is wrong. Raises UsageError."""
    options = doctor_parser().parse_args(arguments)

    from ..doctor import examine
    from ..findings import to_json, to_text

    sections = examine(options.quick)
    print(json.dumps(to_json(sections), indent=1) if options.json else to_text(sections))
    return RUN_FAILED if any(section.problems for section in sections) else OK
