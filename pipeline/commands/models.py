"""`stembeam models`: what models there are, fetching them ahead of a run, and what is known about one."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from typing import TYPE_CHECKING

from ..exit_status import OK, RUN_FAILED
from ..parsing import MIRROR_HELP, STORE_HELP, Parser, asks_for_help
from ..stores import add_access_option, put_in_force

if TYPE_CHECKING:
    from ...model.configuration import ModelConfig
    from ...model.store.places import Store

CARD_FILE = 'CARD.md'


def models_parser() -> argparse.ArgumentParser:
    """The parser of `stembeam models`."""
    parser = Parser(prog='stembeam models', description='List, fetch and show separation models.')
    actions = parser.add_subparsers(dest='action', required=True, metavar='list | fetch | show')
    listed = actions.add_parser('list', help='names, stems, and which are here')
    fetch = actions.add_parser('fetch', help='bring models into the store, for runs without a network')
    fetch.add_argument('names', nargs='*', metavar='NAME', help='a published model, or the URL of a model')
    fetch.add_argument('--all', action='store_true', help='all published models')
    fetch.add_argument('--mirror', metavar='WHERE', help=MIRROR_HELP)
    show = actions.add_parser('show', help='configuration, files, checksum, licence and source of a model')
    show.add_argument('name', metavar='NAME', help='as for --model; only one at a URL is fetched for it')
    for action in (listed, fetch, show):
        action.add_argument('--store', metavar='FOLDER', help=STORE_HELP)
    for action in (fetch, show):
        add_access_option(action)
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 1 if a model could not be fetched. Raises UsageError and RunError."""
    parser = models_parser()
    if asks_for_help(arguments) and arguments[:1] not in (['list'], ['fetch'], ['show']):
        parser.print_help()
        return OK
    options = parser.parse_args(arguments)

    from ...model.store.places import Store

    store = Store.at(options.store)
    if options.action == 'list':
        print('\n'.join(list_lines(store)))
        return OK
    put_in_force(options)
    if options.action == 'show':
        print('\n'.join(show_lines(options.name, store)))
        return OK
    return _fetch(options, store)


def _fetch(options: argparse.Namespace, store: Store) -> int:
    """Fetch one model after the other; one that cannot be fetched does not keep the others away."""
    from ...model.errors import RunError, UsageError
    from ...model.store import bundled_models, known_models, resolve_model
    from ...model.store.addresses import is_url
    from ...model.store.published import ARCHIVES, find_published

    names = [*options.names, *(archive.name for archive in ARCHIVES if options.all)]
    if not names:
        raise UsageError('stembeam models fetch: no model: give names, or --all')
    for name in names:
        if find_published(name) is None and name not in bundled_models() and not is_url(name):
            raise UsageError(f'unknown model {name!r}: use one of {known_models()}, or a URL')
    failed = False
    for name in dict.fromkeys(names):
        try:
            files = resolve_model(name, store=store.root, mirror=options.mirror)
            print(f'{name} {files.weights}')
        except RunError as error:
            print(f'stembeam: {error}', file=sys.stderr)
            failed = True
    return RUN_FAILED if failed else OK


def list_lines(store: Store) -> list[str]:
    """A table of all models that have a name, and of those that were copied from URLs."""
    from ...model.configuration import load_config
    from ...model.store import BUNDLED, bundled_models
    from ...model.store.files import CONFIG_FILE
    from ...model.store.published import PUBLISHED

    rows = [('name', 'stems', 'size', 'where')]
    for name in bundled_models():
        folder = os.path.join(BUNDLED, name)
        config = load_config(os.path.join(folder, CONFIG_FILE))
        rows.append((name, ', '.join(config.instruments), _megabytes(_folder_size(folder)), 'in the package'))
    for name, published in PUBLISHED.items():
        record = store.record(published.archive.name)
        size = '-' if record is None else _megabytes(sum(record['files'].values()))
        where = 'not fetched' if record is None else store.folder(published.archive.name)
        rows.append((name, ', '.join(published.config.instruments), size, where))
    for key in store.remote_keys():
        folder, record = store.folder(key), store.record(key)
        if record is not None:
            config = load_config(os.path.join(folder, CONFIG_FILE))
            size = _megabytes(sum(record['files'].values()))
            rows.append((record['source'], ', '.join(config.instruments), size, folder))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f'{name:{widths[0]}}  {stems:{widths[1]}}  {size:>{widths[2]}}  {where}' for name, stems, size, where in rows
    ]
    return [*lines, '', f'store: {store.root}']


def show_lines(name: str, store: Store) -> list[str]:
    """What is known about a model. Raises UsageError, RunError."""
    from ...model.store import bundled_models, resolve_model
    from ...model.store.files import identify
    from ...model.store.published import HOMEPAGE, LICENCE, find_published

    published = find_published(name)
    if published is None:
        files = resolve_model(name, store=store.root)
        about = _about(files.name, files.config, files.weights, files.fingerprint)
        if name in bundled_models():
            about += [
                ('licence', 'MIT, as stembeam itself'),
                ('source', f'trained by this project: see {os.path.join(_folder_of(files.weights), CARD_FILE)}'),
            ]
        else:
            about += [('licence', 'not known: ask where you have the model from'), ('source', name)]
        return _told(about, files.config)
    from ...model.store.fetching import archive_address, by_hand

    archive, config = published.archive, published.config
    record = store.record(archive.name)
    if record is None:
        about = _about(published.name, config)
        about.append(('where', f'not fetched: stembeam models fetch {published.name}'))
        about.append(('by hand', f'{archive.file} may be put at {by_hand(archive, store)}'))
        about.append(('from', archive_address(archive, None)))
    else:
        found = identify(published.name, config, store.folder(archive.name))
        about = _about(published.name, config, found.weights, found.fingerprint)
        about.append(('from', record['source']))
    about += [('archive', f'{archive.file}, SHA-256 {archive.sha256}'), ('licence', LICENCE), ('source', HOMEPAGE)]
    return _told(about, config)


def _about(name: str, config: ModelConfig, weights: str = '', fingerprint: str = '') -> list[tuple[str, str]]:
    from ...model.checkpoint import expected_variables

    parameters = sum(math.prod(shape) for shape in expected_variables(config).values())
    about = [
        ('name', name),
        ('stems', ', '.join(config.instruments)),
        ('rate', f'{config.sample_rate} Hz, {config.channels} channels, masks up to {_top_hz(config):.0f} Hz'),
        ('parameters', f'{parameters:,}'),
    ]
    if weights:
        about += [('where', weights), ('fingerprint', fingerprint)]
        about += [('file', line) for line in _file_lines(_folder_of(weights))]
    return about


def _told(about: list[tuple[str, str]], config: ModelConfig) -> list[str]:
    width = max(len(label) for label, _ in about)
    return [*(f'{label:{width}}  {text}' for label, text in about), 'configuration', json.dumps(config.to_json())]


def _top_hz(config: ModelConfig) -> float:
    """The frequency up to which the network sees."""
    return config.bins * config.sample_rate / config.frame_length


def _folder_of(weights: str) -> str:
    return weights if os.path.isdir(weights) else os.path.dirname(weights)


def _file_lines(folder: str) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith('.'))
    return [f'{name}, {os.path.getsize(os.path.join(folder, name)):,} bytes' for name in names]


def _folder_size(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def _megabytes(size: int) -> str:
    return f'{size / 1e6:.1f} MB'
