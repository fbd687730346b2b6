"""Options of file systems by protocol, and how often requests are tried: as they are in force in this process.

Stands on fsspec's own configuration (`fsspec.config.conf`), which FSSPEC_* variables and files in ~/.config/fsspec fill
as well. The one idea: a `StoreOptions` puts itself in force where it arrives, so that whatever a job carries to a
worker, file systems there are opened as the launcher would open them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..hiding import hide_values_of
from .retrying import Retries, add_retries_to


@dataclasses.dataclass(frozen=True)
class StoreOptions:
    """What is needed to reach stores; never shown, since it may hold keys."""

    protocols: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict, repr=False)
    retries: Retries = dataclasses.field(default_factory=Retries)
    guarded_hosts: frozenset[str] | None = None  # see webguard.py; None: web addresses may lead anywhere
    tally: str | None = None  # a file of the launcher's machine that gets a byte for every retry; see retrying.py

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to a worker, and is in force there."""
        return _arrive, (copy.deepcopy(dict(self.protocols)), tuple(self.retries), self.guarded_hosts, self.tally)


_current = StoreOptions()


def _arrive(
    protocols: dict[str, dict[str, Any]],
    retries: tuple[Any, ...],
    guarded_hosts: frozenset[str] | None,
    tally: str | None,
) -> StoreOptions:
    options = StoreOptions(protocols, Retries(*retries), guarded_hosts, tally)
    install_options(options)
    return options


def install_options(options: StoreOptions) -> None:
    """Put options in force in this process, on top of what fsspec's own configuration says here."""
    global _current
    import fsspec  # here and below: `stembeam separate --help` has no use for it

    for protocol, values in options.protocols.items():
        fsspec.config.conf.setdefault(protocol, {}).update(values)
    add_retries_to(options.tally)
    hide_values_of(fsspec.config.conf)
    _current = options


def current_options() -> StoreOptions:
    """What is in force here, with all that fsspec has been told by files and variables of this machine."""
    import fsspec

    return dataclasses.replace(_current, protocols=copy.deepcopy(fsspec.config.conf))


def guarded_hosts() -> frozenset[str] | None:
    """See StoreOptions."""
    return _current.guarded_hosts


def current_retries() -> Retries:
    """How often requests are tried here."""
    return _current.retries


def read_options(path: str) -> dict[str, dict[str, Any]]:
    """A file of options: a JSON object with a protocol for each key and the arguments of its file system as value.

    >>> read_options('options.json')  # doctest: +SKIP
    {'s3': {'endpoint_url': 'https://minio.example.org', 'profile': 'corpus'}}

    Raises:
      UsageError: no such file, no JSON object, or an unknown protocol; it never quotes a value.
    """
    import fsspec

    what = f'storage options {path}'
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except OSError as error:
        raise UsageError(f'{what} cannot be read ({error.strerror}): check --storage-options') from error
    except ValueError as error:  # JSON and Unicode errors; their text may quote nothing but a position
        at = f' at line {error.lineno}' if isinstance(error, json.JSONDecodeError) else ''
        raise UsageError(f'{what} is not JSON{at}: write {{"s3": {{"endpoint_url": "..."}}}}') from error
    if not isinstance(found, dict):
        raise UsageError(f'{what} is no JSON object: write {{"s3": {{"endpoint_url": "..."}}}}')
    for protocol, values in found.items():
        if protocol not in fsspec.available_protocols():
            raise UsageError(f'{what}: protocol {protocol!r} is unknown: use for example "s3", "gs" or "https"')
        if not isinstance(values, dict):
            raise UsageError(f'{what}: the options of {protocol!r} are no JSON object: write {{"name": value}}')
    return found
