from __future__ import annotations

import io

import pytest

from stembeam.model.store import display
from stembeam.model.store.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(display.time, 'monotonic', lambda: now[0])
    return now


def test_a_terminal_has_a_line_that_moves(clock):
    out = Terminal()
    shown = Display(out)
    shown.start('4stems.tar.gz', 'https://host')
    clock[0] += 2
    shown.move(20_000_000, 30_000_000, 100_000_000)
    shown.move(1, 30_000_001, 100_000_000)  # too early to draw again
    clock[0] += 2
    shown.move(19_999_999, 50_000_000, None)
    shown.tell('trouble')
    shown.end(60_000_000)
    assert out.getvalue().split('\r\x1b[K') == [
        'fetching 4stems.tar.gz from https://host\n',
        '4stems.tar.gz: 30.0 of 100.0 MB, 10.0 MB/s',
        '4stems.tar.gz: 50.0 MB, 10.0 MB/s',
        'trouble\nfetched 4stems.tar.gz: 60.0 MB, 10.0 MB/s\n',
    ]


def test_elsewhere_nothing_moves(clock):
    out = io.StringIO()
    shown = Display(out)
    shown.start('x', 'y')
    clock[0] += 1
    shown.move(10, 10, 20)
    shown.close()
    assert out.getvalue() == 'fetching x from y\n'
