from __future__ import annotations

import errno
import pickle
import socket

import aiohttp
import pytest

from stembeam.model.remote import GaveUp, Retries, is_forbidden, is_transient, retries_of_this_thread, retrying
from stembeam.model.remote import retrying as function


class FakeClock:
    """Time that passes by sleeping alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pauses: list[float] = []
        module = __import__(function.__module__, fromlist=['time'])
        monkeypatch.setattr(module.time, 'sleep', self.pauses.append)
        monkeypatch.setattr(module.time, 'monotonic', lambda: sum(self.pauses))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return FakeClock(monkeypatch)


def failing(times: int, error: Exception):
    calls: list[None] = []

    def call() -> str:
        calls.append(None)
        if len(calls) <= times:
            raise error
        return f'after {len(calls)}'

    return call


def test_pauses_grow_with_jitter_up_to_a_limit(clock: FakeClock):
    retries = Retries(attempts=9, seconds=1000, pause=1, longest=10)
    assert retrying(failing(8, ConnectionResetError()), 'x', retries) == 'after 9'
    for pause, most in zip(clock.pauses, [1, 2, 4, 8, 10, 10, 10, 10], strict=True):
        assert most / 2 <= pause <= most
    assert len(set(clock.pauses)) == 8


def test_attempts_are_bounded_and_counted(clock: FakeClock):
    before = retries_of_this_thread()
    with pytest.raises(GaveUp, match=r'the line is dead \(tried 4 times in \d+ s\)') as error:
        retrying(failing(99, TimeoutError('the line\nis dead')), 'x', Retries(attempts=4))
    assert error.value.tries == 4
    assert retries_of_this_thread() - before == 3
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_time_is_bounded(clock: FakeClock):
    with pytest.raises(GaveUp):
        retrying(failing(99, TimeoutError()), 'x', Retries(attempts=1000, seconds=100, pause=1, longest=10))
    assert 85 <= sum(clock.pauses) <= 100


def test_the_defaults_outlive_a_minute(clock: FakeClock):
    with pytest.raises(GaveUp):
        retrying(failing(99, TimeoutError()), 'x', Retries())
    assert sum(clock.pauses) > 75


def test_what_lasts_is_raised_at_once(clock: FakeClock):
    call = failing(1, KeyError('a mistake'))
    with pytest.raises(KeyError):
        retrying(call, 'x', Retries())
    assert clock.pauses == []


def with_status(status: int) -> Exception:
    error = Exception('said')
    error.status = status  # type: ignore[attr-defined]
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ('error', 'passes'),
    [
        *((with_status(status), True) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((with_status(status), False) for status in (400, 401, 403, 404, 409, 410, 412, 416, 501)),
        (ConnectionRefusedError(), True),
        (OSError(errno.ENETUNREACH, 'x'), True),
        (OSError(errno.ENOSPC, 'x'), False),
        (FileNotFoundError('x'), False),
        (PermissionError('x'), False),
        (socket.gaierror(socket.EAI_AGAIN, 'x'), True),
        (socket.gaierror(socket.EAI_NONAME, 'x'), False),
        # drivers translate: what cannot be reached is "no such file" for fsspec's HTTP
        (caused(FileNotFoundError('x'), with_status(503)), True),
        (caused(FileNotFoundError('x'), with_status(404)), False),
        (caused(OSError(errno.EBUSY, 'x'), with_status(503)), True),
        (caused(OSError(errno.EBUSY, 'x'), with_status(403)), False),
        (ValueError('x'), False),
    ],
)
def test_what_passes(error: Exception, passes: bool):
    assert is_transient(error) is passes


def test_errors_of_drivers():
    botocore = pytest.importorskip('botocore.exceptions')

    def answer(code: str, status: int) -> Exception:
        return botocore.ClientError({'Error': {'Code': code}, 'ResponseMetadata': {'HTTPStatusCode': status}}, 'Put')

    slow, denied = answer('SlowDown', 400), answer('AccessDenied', 403)
    assert (is_transient(slow), is_forbidden(slow)) == (True, False)
    assert (is_transient(denied), is_forbidden(denied)) == (False, True)
    assert is_transient(botocore.EndpointConnectionError(endpoint_url='x'))
    assert not is_transient(botocore.SSLError(endpoint_url='x', error='certificate'))
    assert is_transient(aiohttp.ClientPayloadError())
    assert is_transient(aiohttp.ServerTimeoutError())
