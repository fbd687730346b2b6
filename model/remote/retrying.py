"""Trying a request again: what kind of trouble passes, how long to wait, and when to give up.

Stands on the standard library alone; the exceptions of drivers are known by their names and by the HTTP status that
they carry, so that no driver has to be installed. Pauses grow exponentially and are shortened at random ("equal
jitter": M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that many workers that were
turned away together do not come back together.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..hiding import without_secrets

logger = logging.getLogger(__name__)

T = TypeVar('T')

TOLD_SECONDS = 8.0  # pauses from this length on are told to the user

# Too early, too many, too busy; see RFC 9110 and RFC 6585.
_STATUSES = {408, 425, 429, 500, 502, 503, 504}
# Codes of S3 and its likes, some of which come with status 400.
_CODES = {
    'InternalError',
    'OperationAborted',
    'RequestTimeout',
    'ServiceUnavailable',
    'SlowDown',
    'Throttling',
    'ThrottlingException',
    'TooManyRequestsException',
}
_ERRNOS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}
# Package and class; subclasses count.
_PASSING = {
    ('aiohttp', 'ClientConnectionError'),
    ('aiohttp', 'ClientPayloadError'),
    ('azure', 'IncompleteReadError'),
    ('azure', 'ServiceRequestError'),
    ('azure', 'ServiceResponseError'),
    ('botocore', 'ConnectionError'),
    ('botocore', 'HTTPClientError'),
    ('botocore', 'IncompleteReadError'),
    ('botocore', 'ResponseParserError'),
    ('gcsfs', 'ChecksumError'),
    ('google', 'TransportError'),
    ('http', 'HTTPException'),
    ('requests', 'ChunkedEncodingError'),
    ('requests', 'ConnectionError'),
    ('requests', 'Timeout'),
    ('urllib3', 'ProtocolError'),
    ('urllib3', 'TimeoutError'),
}
# Some of them only look as if they were.
_LASTING = {
    ('aiohttp', 'ClientSSLError'),
    ('botocore', 'SSLError'),
    ('requests', 'SSLError'),
}


class Retries(NamedTuple):
    """How long a request is tried: with these figures an hour-long run outlives a store that fails for a minute."""

    attempts: int = 12  # the first one included
    seconds: float = 300.0  # for one request with all its pauses
    pause: float = 0.5  # seconds before the second attempt, doubled for each further one; shortened by up to a half
    longest: float = 30.0  # seconds of one pause

    def brief(self) -> Retries:
        """For the first contact, where a wrong address is likelier than a store in trouble."""
        return self._replace(attempts=min(self.attempts, 4))


class GaveUp(OSError):
    """A store failed again and again, in a way that passes mostly; the text says how, and after how many tries."""

    def __init__(self, reason: str, tries: int, seconds: float) -> None:
        """`seconds` were spent on `tries` attempts."""
        often = f'{tries} times in {seconds:.0f} s' if tries > 1 else 'once'
        super().__init__(f'{reason} (tried {often})')
        self.tries = tries

    def __reduce__(self) -> tuple[Any, ...]:
        """Exceptions cross processes."""
        return _same_gave_up, (self.args[0], self.tries)


def _same_gave_up(text: str, tries: int) -> GaveUp:
    error = GaveUp('', tries, 0)
    error.args = (text,)
    return error


class _Tally(threading.local):
    retries = 0


_tally = _Tally()
_tally_file: str | None = None


def retries_of_this_thread() -> int:
    """How many requests were tried again in this thread so far: the difference of two calls is what lies between."""
    return _tally.retries


def add_retries_to(file: str | None) -> None:
    """From now on every retry of this process adds a byte to a file, if it is there; None: to none.

    So its size is the number of retries of all processes of a machine that add to it, those that have died included.
    """
    global _tally_file
    _tally_file = file


def _count_retry() -> None:
    _tally.retries += 1
    if _tally_file is not None:
        try:
            file = os.open(_tally_file, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:  # this is another machine than the launcher's: Beam's counter knows of this retry
            return
        try:
            os.write(file, b'.')
        finally:
            os.close(file)


def retrying(call: Callable[[], T], address: str, retries: Retries) -> T:
    """What `call` returns, which is called again as long as it fails in passing.

    Args:
      call: one request, which does no harm when it is done twice.
      address: what it is about, for messages.
      retries: when to give up.

    Raises:
      GaveUp: it failed too often or for too long.
      Exception: what the call raised, if trying again is of no use.
    """
    began = time.monotonic()
    for attempt in range(1, retries.attempts + 1):
        try:
            return call()
        except Exception as error:  # drivers raise exceptions of any class
            if not is_transient(error):
                raise
            spent = time.monotonic() - began
            pause = min(retries.pause * 2.0 ** (attempt - 1), retries.longest) * random.uniform(0.5, 1)
            if attempt == retries.attempts or spent + pause > retries.seconds:
                raise GaveUp(told(error), attempt, spent) from error
            _count_retry()
            logger.log(
                logging.WARNING if pause >= TOLD_SECONDS else logging.INFO,
                '%s: %s; trying again in %.0f s (%d of %d)',
                without_secrets(address),
                without_secrets(told(error)),
                pause,
                attempt + 1,
                retries.attempts,
            )
            time.sleep(pause)
    raise AssertionError('attempts is 1 or more')


def told(error: BaseException) -> str:
    """An error of a driver in one line: the HTTP status if there is one, and what was said."""
    links = list(_causes(error))
    status = next((found for link in links if (found := _status(link)) is not None), None)
    said = next((link for link in links if isinstance(link, PermissionError)), error)  # not what was made of it
    text = ' '.join(str(said).split()) or type(said).__name__
    return text if status is None or str(status) in text else f'HTTP {status}: {text}'


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later: 429, 5xx, broken connections, time-outs.

    What is not there (404) or not allowed (401, 403) stays so.
    """
    if isinstance(error, GaveUp):
        return False
    links = list(_causes(error))
    if any(isinstance(link, PermissionError) for link in links):
        return False
    for link in links:
        status, code = _status(link), _code(link)
        if code in _CODES or status in _STATUSES:
            return True
        if status == 401 and 'Invalid Credentials' in str(link):  # Google's, of a token that has just run out
            return True
    for link in links:
        if _names(link) & _LASTING:
            return False
        if _is_passing(link):
            return True
        if (_status(link) or 0) >= 400:
            return False
    return False


def is_forbidden(error: BaseException) -> bool:
    """Whether a store said that we may not."""
    # gcsfs says it in the text alone.
    return any(
        isinstance(link, PermissionError) or _status(link) in (401, 403) or str(link).startswith('Forbidden')
        for link in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from: drivers translate, and some call everything a missing file."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries."""
    response = getattr(error, 'response', None)
    own = getattr(error, 'status', None)
    if own is None:
        own = getattr(error, 'code', None)  # which aiohttp's errors, having both, warn of
    candidates = [own, getattr(response, 'status_code', None)]
    if isinstance(response, dict):  # botocore's
        candidates.append(response.get('ResponseMetadata', {}).get('HTTPStatusCode'))
    for candidate in candidates:
        try:
            number = int(candidate)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if 100 <= number < 600:
            return number
    return None


def _code(error: BaseException) -> str | None:
    response = getattr(error, 'response', None)
    return response.get('Error', {}).get('Code') if isinstance(response, dict) else None


def _names(error: BaseException) -> set[tuple[str, str]]:
    return {(kind.__module__.partition('.')[0], kind.__name__) for kind in type(error).__mro__}


def _is_passing(error: BaseException) -> bool:
    names = _names(error)
    if names & _PASSING or getattr(error, 'retryable', False) is True:  # google.auth's errors say so themselves
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, (ConnectionError, TimeoutError, EOFError)) or 'TimeoutError' in {name for _, name in names}:
        return True
    # A driver's translation of something else says less than that.
    return isinstance(error, OSError) and error.errno in _ERRNOS and error.__cause__ is None
