"""A web client that does not go where a listing from elsewhere may not lead: to private hosts, by name or redirection.

Stands on aiohttp, as fsspec's file system for HTTP does. The one idea: what a name stands for is known only when the
connection is made, so the look at the address happens there.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.resolver import ThreadedResolver

from .hosts import is_private_address, is_private_host


@dataclasses.dataclass(frozen=True)
class GuardedClient:
    """Makes sessions for fsspec's HTTPFileSystem (its argument `get_client`)."""

    trusted: frozenset[str]  # hosts that may be private

    async def __call__(self, **options: Any) -> aiohttp.ClientSession:
        """A session that raises PermissionError where it would have gone to a private host."""
        if not options.get('trust_env') and 'connector' not in options:  # else it is the proxy that connects
            options['connector'] = aiohttp.TCPConnector(resolver=_GuardedResolver(self.trusted))
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(self._check_redirection)
        return aiohttp.ClientSession(**{**options, 'trace_configs': [*options.get('trace_configs', []), trace]})

    async def _check_redirection(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
    ) -> None:
        target = redirect.response.headers.get('Location') or redirect.response.headers.get('URI') or ''
        host = redirect.url.join(type(redirect.url)(target)).host or ''
        if host not in self.trusted and is_private_host(host):
            raise _refusal(host)


class _GuardedResolver(ThreadedResolver):
    def __init__(self, trusted: frozenset[str]) -> None:
        super().__init__()
        self._trusted = trusted

    async def resolve(self, host: str, *arguments: Any, **options: Any) -> Any:
        found = await super().resolve(host, *arguments, **options)
        if host not in self._trusted and any(is_private_address(one['host']) for one in found):
            raise _refusal(host)
        return found


def _refusal(host: str) -> PermissionError:
    return PermissionError(
        f'it leads to {host} in a private network, and the listing is from elsewhere: leave it out, or trust the '
        'listing with --allow-local-inputs'
    )
