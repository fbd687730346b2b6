"""The options with which stores are reached: declared here, read here, put in force here before anything is opened."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..model.remote import Retries, StoreOptions, current_options, install_options, read_options
from .parsing import count, positive_seconds

_DEFAULT = Retries()


def add_storage_options(group: Any) -> None:
    """Declare how stores are reached. `group`: of a parser, or a parser."""
    add = group.add_argument
    add(
        '--storage-options',
        metavar='FILE',
        help='JSON file with options of file systems by protocol, such as {"s3": {"endpoint_url": "https://..."}}; '
        "workers get them too, beside what fsspec's own FSSPEC_* variables say here",
    )
    add(
        '--storage-attempts',
        type=count,
        default=_DEFAULT.attempts,
        metavar='N',
        help='how often a request to a store is tried before its track, or for the output the run, fails '
        f'(default: {_DEFAULT.attempts})',
    )
    add(
        '--storage-patience',
        type=positive_seconds,
        default=_DEFAULT.seconds,
        metavar='S',
        help=f'seconds that a request to a store may take with all its attempts (default: {_DEFAULT.seconds:.0f})',
    )
    add(
        '--allow-local-inputs',
        action='store_true',
        help='let a listing that is read from a URL name local files and hosts of private networks, too',
    )


def put_in_force(options: argparse.Namespace) -> None:
    """From now on stores are reached as the options say. Raises UsageError for a file that cannot be used."""
    protocols = read_options(options.storage_options) if options.storage_options else {}
    retries = Retries(attempts=options.storage_attempts, seconds=options.storage_patience)
    install_options(StoreOptions(protocols, retries))


def guard_web(trusted_hosts: frozenset[str] | None) -> None:
    """From now on web addresses lead to private hosts only if these are among those named; None: anywhere."""
    install_options(dataclasses.replace(current_options(), guarded_hosts=trusted_hosts))
