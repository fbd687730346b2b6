"""How stores are reached: what is in force after the options were read, and how often requests were made again."""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import pytest

from stembeam.model.remote import Retries, current_options, current_retries, retrying
from stembeam.pipeline import supervising
from stembeam.pipeline.stores import (
    add_access_option,
    add_storage_options,
    counted_retries,
    guard_web_for,
    put_in_force,
    retries_told,
)

QUICK = Retries(pause=0.001)


pytestmark = pytest.mark.usefixtures('clean_configuration')


def fail_before(times: int) -> None:
    """A request that succeeds after so many that do not."""
    answers = [ConnectionResetError()] * times

    def call() -> None:
        if answers:
            raise answers.pop()

    retrying(call, 'x', QUICK)


def test_options_are_in_force(tmp_path: Path) -> None:
    (tmp_path / 'o.json').write_text(json.dumps({'s3': {'key': 'k'}}))
    words = ['--storage-options', str(tmp_path / 'o.json')]
    parser, plain = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_storage_options(parser)
    put_in_force(parser.parse_args([*words, '--storage-attempts', '3', '--storage-patience', '7']))
    assert (current_retries().attempts, current_retries().seconds) == (3, 7)
    assert fsspec.config.conf['s3'] == {'key': 'k'}
    add_access_option(plain)
    put_in_force(plain.parse_args(words))
    assert current_retries() == Retries()


def test_all_processes_of_a_run_count_together() -> None:
    program = 'import pickle, sys\npickle.load(sys.stdin.buffer)\n' + (
        'from tests.pipeline.test_stores import fail_before\nfail_before(3)'
    )
    with counted_retries(is_local=True) as retries:
        assert retries() == 0
        fail_before(2)
        sent = pickle.dumps(current_options())  # as the job of a run carries them to its workers
        subprocess.run([sys.executable, '-c', program], input=sent, check=True, cwd=Path(__file__).parents[2])
        assert retries() == 5
    fail_before(1)  # of nobody's run
    pickle.loads(sent)
    fail_before(1)  # as on a machine where the launcher's file is not
    with counted_retries(is_local=True) as retries:
        assert retries() == 0


def test_workers_elsewhere_count_for_themselves() -> None:
    with counted_retries(is_local=False) as retries:
        fail_before(2)
        thread = threading.Thread(target=fail_before, args=(3,))  # of a runner whose workers are in this process
        thread.start()
        thread.join()
        assert retries() == 2


def test_starts_of_a_run_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, '_supervision', supervising.Supervision(str(tmp_path), 0))
    for total in (2, 4):
        with counted_retries(is_local=True) as retries:
            fail_before(2)
            assert retries() == total


def test_what_is_told() -> None:
    assert retries_told(None) == retries_told(0) == []
    assert retries_told(1) == ['retries    1 request to an object store was tried again']
    assert retries_told(12) == ['retries    12 requests to object stores were tried again']


@pytest.mark.parametrize(
    ('addresses', 'allow_local', 'guarded'),
    [
        (['https://host.example/songs.csv', 's3://b/out', None], False, {'host.example'}),
        (['https://host.example/songs.csv'], True, None),
        (['s3://b/songs.csv', 'http://Other:80/data'], False, {'other'}),
        (['songs.csv', 'https://host.example/data'], False, None),
        (['s3://b/folder'], False, None),
    ],
)
def test_manifests_from_elsewhere_are_guarded(
    addresses: list[str | None], allow_local: bool, guarded: set[str] | None
) -> None:
    guard_web_for(addresses, allow_local)
    assert current_options().guarded_hosts == guarded
