"""`stembeam example`: three short generated songs to try the rest on."""

from __future__ import annotations

from pathlib import Path

from ..exit_status import OK
from ..parsing import Parser


def main(arguments: list[str]) -> int:
    """Write the songs and print their paths. Raises UsageError."""
    parser = Parser(prog='stembeam example', description='Write three short generated songs.')
    parser.add_argument('folder', metavar='FOLDER', help='where the songs go')
    options = parser.parse_args(arguments)

    from ..example import write_example

    print(*write_example(Path(options.folder)), sep='\n')
    return OK
