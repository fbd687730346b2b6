"""`stembeam export`: a model as the checkpoint and configuration that Spleeter loads."""

from __future__ import annotations

import argparse

from ..exit_status import OK
from ..parsing import Parser, asks_for_help
from ..stores import add_access_option, put_in_force


def export_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam export`."""
    parser = Parser(
        prog='stembeam export',
        description=__doc__,
        epilog='In Spleeter: MODEL_PATH=FOLDER spleeter separate -p FOLDER/config.json ...; here: --model FOLDER.',
    )
    parser.add_argument('model', metavar='MODEL', help='name, folder, JSON file or URL of a model')
    parser.add_argument('-o', '--output', required=True, metavar='FOLDER', help='new folder of the checkpoint')
    add_access_option(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0. Raises UsageError."""
    if asks_for_help(arguments):
        export_parser().print_help()
        return OK
    options = export_parser().parse_args(arguments)
    put_in_force(options)

    from ...model.training.export import export_model

    step = export_model(options.model, options.output)
    print(f'{options.output}: Spleeter checkpoint of step {step}')
    return OK
