"""Suspects in a process of their own, some of which break it (see injected/soundfile.py)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stembeam.transforms.records import Track
from stembeam.transforms.trial import try_out

from ..transforms.audio_files import cut, noise, write

INJECTED_CODE = Path(__file__).parent / 'injected'


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('PYTHONPATH', str(INJECTED_CODE))
    monkeypatch.setenv('STEMBEAM_TEST_STRIKES', str(tmp_path))
    monkeypatch.setenv('STEMBEAM_TEST_FAULTS', 'crash-read hang-read kill-once')


def verdict(path: str) -> str | None:
    return try_out(Track('a', path, {}), decoder='auto', allow_truncated=False, timeout=6)


def test_good_tracks_and_broken_ones_pass(tmp_path):
    """What is wrong with a broken one is told on the usual way."""
    assert verdict(write(tmp_path / 'good.m4a', 'm4a', noise(20_000), 44_100)) is None
    broken = write(tmp_path / 'broken.flac', 'flac', noise(100_000), 44_100)
    cut(broken, 0.5)
    assert verdict(broken) is None
    assert verdict(str(tmp_path / 'missing.wav')) is None


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('crash-read \udcff.wav', r'crash-read \\udcff\.wav: a process that decodes it dies of SIGABRT: '),
        ('hang-read a.wav', r'hang-read a\.wav: decoding it hangs, nothing came for 6 s: '),
    ],
)
def test_tracks_that_break_the_process(tmp_path, name, reason):
    path = write(tmp_path / 'a.wav', 'wav16', noise(20_000), 44_100)
    (tmp_path / 'a.wav').rename(tmp_path / name)
    said = verdict(path.replace('a.wav', name))
    assert said is not None
    assert re.search(reason, said)
    assert '\n' not in said


def test_the_kernel_s_kill_says_nothing_about_the_track(tmp_path):
    assert verdict(write(tmp_path / 'kill-once a.wav', 'wav16', noise(20_000), 44_100)) is None
