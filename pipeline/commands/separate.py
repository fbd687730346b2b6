"""`stembeam separate`: a corpus into stems, features, manifest and failure table."""

from __future__ import annotations

from ...model.collecting import without_collecting
from ...model.hiding import without_secrets
from ..exit_status import OK, WITH_FAILURES
from ..logs import configure
from ..options import parse_separate, separate_parser
from ..parsing import asks_for_help


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 3 with failures. Raises UsageError and RunError."""
    if asks_for_help(arguments):
        separate_parser().print_help()
        return OK
    with without_collecting():
        options, beam_options = parse_separate(arguments)
        configure(options.log_level, options.log_format)

        from ..launch import dry_run, separate, summary  # heavy: after bad options had their say

    if options.dry_run:
        print(dry_run(options, beam_options))
        return OK
    outcome = separate(options, beam_options)
    if outcome is None:
        print(f'the job is started; stembeam status {without_secrets(options.output)} tells how far it is')
        return OK
    print(summary(outcome, options))
    return WITH_FAILURES if outcome.failed else OK
