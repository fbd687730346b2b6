"""What `python -m benchmark` can be asked for."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

PARTS = ('stages', 'network', 'process', 'peers')


@dataclasses.dataclass(frozen=True)
class Settings:
    """A run of the benchmark."""

    parts: tuple[str, ...]  # of PARTS; the matrix ceiling is always measured
    cores: int
    rounds: int  # of what is short: ceiling, network, stages
    process_rounds: int  # of whole commands
    tracks: int
    track_seconds: float
    turn_seconds: float  # about how long a stage has for one turn
    turn_chunks: int  # chunks that every stream of the network has for one turn
    quick: bool
    long: bool
    output: Path
    build: Path
    baseline: Path | None
    color: bool | None

    def comparable(self) -> dict[str, object]:
        """What must be equal for two reports to be compared."""
        return {'cores': self.cores, 'tracks': self.tracks, 'track_seconds': self.track_seconds}


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings from the command line; exits with status 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmark',
        description='Measure stembeam in one run, in turns, and write report.json, report.md and report.png.',
    )
    add = parser.add_argument
    add('--only', type=_parts, metavar='PARTS', help=f'{",".join(PARTS)}: some of them (default: all but peers)')
    add('--peers', action='store_true', help='measure what one would use instead too, in environments of their own')
    add('--long', action='store_true', help='measure tracks of 1, 60 and 180 minutes too (some 10 minutes more)')
    add('--quick', action='store_true', help='short tracks and one round, to see that it works: no figures to keep')
    add('--cores', type=_count, default=2, metavar='N', help='cores that everything is pinned to (default: 2)')
    add('--rounds', type=_count, metavar='N', help='of ceiling, network and stages (default: 5; 1 if quick)')
    add('--process-rounds', type=_count, metavar='N', help='of whole commands (default: 2; 1 if quick)')
    add('--tracks', type=_count, metavar='N', help='tracks of the corpus (default: 10; 2 if quick)')
    add('--seconds', type=_count, metavar='S', help='of every track (default: 180; 10 if quick)')
    add('-o', '--output', type=Path, default=Path('out/bench'), metavar='DIR', help='(default: out/bench)')
    add('--build', type=Path, default=Path('.build/bench'), metavar='DIR', help='what is kept (default: .build/bench)')
    add('--baseline', type=Path, metavar='FILE', help='a report to compare with (default: the one committed last)')
    add('--color', action=argparse.BooleanOptionalAction, help='regressions in red (default: on a terminal)')
    options = parser.parse_args(arguments)
    parts = options.only or tuple(part for part in PARTS if part != 'peers')
    if options.peers and 'peers' not in parts:
        parts = (*parts, 'peers')
    quick = options.quick
    return Settings(
        parts=parts,
        cores=options.cores,
        rounds=options.rounds or (1 if quick else 5),
        process_rounds=options.process_rounds or (1 if quick else 2),
        tracks=options.tracks or (2 if quick else 10),
        track_seconds=float(options.seconds or (10 if quick else 180)),
        turn_seconds=0.1 if quick else 0.5,
        turn_chunks=1 if quick else 4,
        quick=quick,
        long=options.long,
        output=options.output.resolve(),
        build=options.build.resolve(),
        baseline=options.baseline,
        color=options.color,
    )


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(','))
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is no part: choose from {", ".join(PARTS)}')
    return parts


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number from 1 up')
    return int(text)
