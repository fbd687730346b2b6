"""`stembeam estimate`: hours, storage and money of a run, before it is begun."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from typing import TYPE_CHECKING

from ..exit_status import OK
from ..parsing import Parser, asks_for_help, count, positive_seconds
from ..stores import add_storage_options, add_trust_option, guard_web, put_in_force

if TYPE_CHECKING:
    from ...model.configuration import ModelConfig
    from ..cost_model import Estimate, Work
    from ..profiles import Prices, Profile, StageCosts

TRACK_SECONDS = 210.0  # of a song
SAMPLE = 200


def estimate_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam estimate`."""
    parser = Parser(
        prog='stembeam estimate',
        description='What it would take to separate a listing, or so many tracks: hours, machine-hours, storage, '
        'money, and the stage that sets the speed. Stage costs are measured (make bench); machines and prices are '
        'inputs.',
    )
    add = parser.add_argument
    add('inputs', nargs='*', metavar='LISTING', help='as for separate; or give --tracks')
    add('--tracks', type=_counts, metavar='N,...', help='so many tracks instead of a listing')
    add('--track-seconds', type=positive_seconds, default=TRACK_SECONDS, metavar='S', help='of each (default: 210)')
    add('--sample', type=count, default=SAMPLE, metavar='N', help='tracks of a listing to look at (default: 200)')
    add(
        '--profile',
        action='append',
        metavar='NAME',
        help='laptop, cpu-cluster, t4, l4, h100, or a JSON file of that form; may be given again (default: all five)',
    )
    add('--machines', type=count, metavar='N', help="so many machines (default: the profile's)")
    add('--model', default='4stems', metavar='MODEL', help='whose networks are counted (default: 4stems)')
    add('--format', default='flac', metavar='FORMAT', help='of the stems: wav or flac (default: flac)')
    add('--features', action=argparse.BooleanOptionalAction, default=True, help='with features (default: yes)')
    add('--prices', metavar='FILE', help='JSON file of your prices, in the form of configs/costs/prices.json')
    add('--costs', metavar='FILE', help='JSON file of stage costs, in the form of configs/costs/measured.json')
    add('--json', action='store_true', help='as JSON, with the time of every stage')
    stores = parser.add_argument_group('object stores')
    add_storage_options(stores)
    add_trust_option(stores)
    return parser


def _counts(text: str) -> list[int]:
    return [count(word) for word in text.split(',')]


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0. Raises UsageError and RunError."""
    parser = estimate_parser()
    if asks_for_help(arguments):
        parser.print_help()
        return OK
    options = parser.parse_intermixed_args(arguments)
    put_in_force(options)

    from ...model.errors import UsageError
    from ..cost_model import estimate
    from ..profiles import load_costs, load_prices, load_profile, profile_names

    if bool(options.inputs) == bool(options.tracks):
        raise UsageError('give a listing, or --tracks N, and not both: see stembeam estimate --help')
    profiles = {name: load_profile(name) for name in options.profile or profile_names()}
    if options.machines:
        profiles = {name: dataclasses.replace(profile, machines=options.machines) for name, profile in profiles.items()}
    costs, prices = load_costs(options.costs), load_prices(options.prices)
    works, said = _works(options, _config_of(options.model))
    rows = [
        (work, name, estimate(work, profile, costs, prices)) for work in works for name, profile in profiles.items()
    ]
    if options.json:
        print(json.dumps([_as_json(*row) for row in rows], indent=1))
    else:
        print('\n'.join([*said, *table(rows, profiles), '', *sources(profiles, costs, prices)]))
    return OK


def _works(options: argparse.Namespace, config: ModelConfig) -> tuple[list[Work], list[str]]:
    """What is to be done, and what there is to say about how that is known."""
    from ..cost_model import Work

    if options.tracks:
        works = [
            Work(tracks, tracks * options.track_seconds, config, options.format, options.features)
            for tracks in options.tracks
        ]
        return works, []
    from ...transforms.listing import read_listing
    from ..durations import measure_durations

    listing = read_listing(options.inputs, allow_local=options.allow_local_inputs)
    guard_web(listing.trusted_hosts)
    found = measure_durations(listing.tracks, options.sample)
    hours, around = found.seconds / 3600, found.uncertainty / 3600
    said = f'{found.tracks:,} tracks, {hours:,.2f} hours of audio'
    if found.looked_at < found.tracks:
        said += f' (by {found.looked_at} of them, +-{around:,.2f} h)'
    if found.unreadable:
        said += f'; {found.unreadable} of {found.looked_at} looked at cannot be read'
    return [Work(found.tracks, found.seconds, config, options.format, options.features)], [said, '']


def _config_of(name: str) -> ModelConfig:
    """The configuration of a model; published models need not be fetched for it."""
    from ...model.configuration import load_config
    from ...model.store import BUNDLED, bundled_models, resolve_model
    from ...model.store.files import CONFIG_FILE
    from ...model.store.published import find_published

    published = find_published(name)
    if published is not None:
        return published.config
    if name in bundled_models():
        return load_config(os.path.join(BUNDLED, name, CONFIG_FILE))
    return resolve_model(name).config


def _as_json(work: Work, name: str, found: Estimate) -> dict[str, object]:
    return {
        'profile': name,
        'tracks': work.tracks,
        'audio_hours': work.seconds / 3600,
        'format': work.format,
        'features': work.features,
        **dataclasses.asdict(found),
    }


def table(rows: list[tuple[Work, str, Estimate]], profiles: dict[str, Profile]) -> list[str]:
    """The estimates as a Markdown table."""
    head = [
        'tracks',
        'profile',
        'x real time',
        'hours',
        'machine-hours',
        'stored',
        'machines cost',
        'per month',
        'binds',
    ]
    cells = [head, ['-' * len(name) for name in head]]
    for work, name, found in rows:
        guessed = profiles[name].gpu is not None and not profiles[name].gpu.measured  # type: ignore[union-attr]
        cells.append(
            [
                f'{work.tracks:,}',
                name + '*' * guessed,
                f'{found.speed:,.0f}',
                _rounded(found.hours),
                _rounded(found.machine_hours),
                _bytes(found.gigabytes),
                '-' if found.dollars is None else f'${_rounded(found.dollars)}',
                '-' if found.dollars_per_month is None else f'${_rounded(found.dollars_per_month)}',
                found.binds,
            ]
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
    return [f'| {line} |' for line in lines]


def sources(profiles: dict[str, Profile], costs: StageCosts, prices: Prices) -> list[str]:
    """Where the numbers come from, and which of them nobody has measured."""
    return [
        *(f'{name}: {profile.title}; {profile.evidence}.' for name, profile in profiles.items()),
        f'Stage costs: measured on {costs.date}, {costs.machine}, {costs.core_gflops:.0f} GFLOP/s per core '
        f'({costs.command}).',
        f'Prices: {prices.date}, {prices.source}.',
        *(
            ['* speed of the GPU assumed, not measured.']
            if any(p.gpu and not p.gpu.measured for p in profiles.values())
            else []
        ),
    ]


def _rounded(value: float) -> str:
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def _bytes(gigabytes: float) -> str:
    for unit in ('GB', 'TB'):
        if gigabytes < 1000:
            return f'{gigabytes:.3g} {unit}'
        gigabytes /= 1000
    return f'{gigabytes:,.3g} PB'
