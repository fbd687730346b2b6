"""The options with which stores are reached: declared here, read here, put in force here before anything is opened; and
how many requests had to be made again.

The one idea: every process of a run on this machine adds to one file, which outlives those that die. Workers on other
machines have only Beam's counter.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..model.remote import (
    Retries,
    StoreOptions,
    current_options,
    install_options,
    read_options,
    retries_of_this_thread,
)
from ..transforms.addresses import extension_of, split_url, to_uri
from ..transforms.trust import host_of
from .parsing import count, positive_seconds
from .supervising import supervision

_DEFAULT = Retries()


def add_access_option(group: Any) -> None:
    """Declare with which options stores are reached. `group`: of a parser, or a parser."""
    group.add_argument(
        '--storage-options',
        metavar='FILE',
        help='JSON file with options of file systems by protocol, such as {"s3": {"endpoint_url": "https://..."}}; '
        "workers get them too, beside what fsspec's own FSSPEC_* variables say here",
    )


def add_storage_options(group: Any) -> None:
    """Declare how stores are reached, and how often they are asked. `group`: of a parser, or a parser."""
    add_access_option(group)
    add = group.add_argument
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


def add_trust_option(group: Any, listing: str = 'listing') -> None:
    """Declare what a listing from elsewhere may name. `group`: see above; `listing`: what the help calls it."""
    group.add_argument(
        '--allow-local-inputs',
        action='store_true',
        help=f'let a {listing} that is read from a URL name local files and hosts of private networks, too',
    )


def put_in_force(options: argparse.Namespace) -> None:
    """From now on stores are reached as the options say. Raises UsageError for a file that cannot be used."""
    protocols = read_options(options.storage_options) if options.storage_options else {}
    retries = _DEFAULT  # of commands that only download models, which has a patience of its own
    if 'storage_attempts' in options:
        retries = Retries(attempts=options.storage_attempts, seconds=options.storage_patience)
    install_options(StoreOptions(protocols, retries))


def guard_web_for(addresses: Iterable[str | None], allow_local: bool) -> None:
    """`guard_web` for data sets: manifests among these addresses that are read from elsewhere name public hosts only.

    Args:
      addresses: all that the user has named, whose hosts are trusted; None stands for nothing.
      allow_local: see `add_trust_option`.
    """
    uris = [to_uri(address) for address in addresses if address is not None]
    is_elsewhere = any(split_url(uri) is not None and extension_of(uri) == '.csv' for uri in uris)
    hosts = frozenset(host for uri in uris if (host := host_of(uri)) is not None)
    guard_web(hosts if is_elsewhere and not allow_local else None)


def guard_web(trusted_hosts: frozenset[str] | None) -> None:
    """From now on web addresses lead to private hosts only if these are among those named; None: anywhere."""
    install_options(dataclasses.replace(current_options(), guarded_hosts=trusted_hosts))


RetryCount = Callable[[], int]
"""Says how many requests were made again so far; of a run that was started again, since its first start."""


@contextlib.contextmanager
def counted_retries(is_local: bool) -> Iterator[RetryCount]:
    """Count the requests that are made again in the context; the options of stores have to be in force already.

    Args:
      is_local: the workers are here, and count with us. Those elsewhere have Beam's counter: only what this thread asks
        for counts then.
    """
    if not is_local:
        before = retries_of_this_thread()
        yield lambda: retries_of_this_thread() - before
        return
    supervisor = supervision()
    with contextlib.ExitStack() as stack:
        if supervisor is not None:
            file = supervisor.retries
        else:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix='stembeam-retries-')).name
        with open(file, 'ab'):  # it has to be there
            pass
        install_options(dataclasses.replace(current_options(), tally=file))
        try:
            yield lambda: os.stat(file).st_size
        finally:
            install_options(dataclasses.replace(current_options(), tally=None))


def retries_told(retries: int | None) -> list[str]:
    """The line of a summary, if there is anything to tell. None: not known, of a runner that does not tell."""
    if not retries:
        return []
    requests = '1 request to an object store was' if retries == 1 else f'{retries} requests to object stores were'
    return [f'retries    {requests} tried again']
