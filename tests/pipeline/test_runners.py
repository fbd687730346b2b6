from __future__ import annotations

import json
import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from stembeam.model.errors import UsageError
from stembeam.pipeline import runners
from stembeam.pipeline.runners import place


@pytest.mark.parametrize(
    'name',
    [
        None,
        '',
        'local',
        'direct',
        'DirectRunner',
        'directrunner',
        'FnApiRunner',
        'BundleBasedDirectRunner',
        'apache_beam.runners.direct.DirectRunner',
    ],
)
def test_local_names_mean_the_runner_in_this_process(name):
    placement = place(name, 4, {})
    assert type(placement.runner) is FnApiRunner  # by name another one would be downloaded
    assert placement.is_local
    assert placement.is_here
    assert placement.streams == 4
    options = placement.options.view_as(DirectOptions)
    assert (options.direct_running_mode, options.direct_num_workers) == ('multi_threading', 4)


def test_one_worker_needs_no_threads():
    placement = place('local', 1, {})
    assert placement.streams == 1
    assert placement.options.view_as(DirectOptions).direct_running_mode == 'in_memory'


def test_processes_have_one_stream_each():
    placement = place(None, 3, {'direct_running_mode': 'multi_processing'})
    assert (placement.is_local, placement.is_here, placement.streams) == (True, False, 1)
    options = placement.options.view_as(DirectOptions)
    assert (options.direct_running_mode, options.direct_num_workers) == ('multi_processing', 3)


def test_worker_processes_are_told_the_options():
    placement = place(
        None, 3, {'direct_running_mode': 'multi_processing', 'experiments': ['x'], 'save_main_session': True}
    )
    assert isinstance(placement.runner, FnApiRunner)
    said = placement.runner._provision_info.provision_info.pipeline_options
    assert said['direct_num_workers'] == '3'
    assert said['direct_running_mode'] == 'multi_processing'
    assert said['save_main_session'] is True
    assert PipelineOptions.from_dictionary(dict(said)).view_as(DirectOptions).direct_num_workers == 3
    assert json.loads(json.dumps(dict(said)))


def test_beam_s_own_number_of_workers_counts():
    placement = place('local', 4, {'direct_num_workers': 2})
    assert placement.streams == 2
    assert placement.options.view_as(DirectOptions).direct_num_workers == 2


@pytest.mark.parametrize('workers', [1, 3])
def test_a_local_placement_runs(workers, tmp_path):
    placement = place('local', workers, {})
    with beam.Pipeline(runner=placement.runner, options=placement.options) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(20))
            | beam.Reshuffle()
            | beam.Map(lambda number: (tmp_path / str(number)).write_text(''))
        )
    assert len(list(tmp_path.iterdir())) == 20


@pytest.mark.parametrize('name', ['DaskRunner', 'apache_beam.runners.dask.dask_runner.DaskRunner'])
def test_a_runner_that_loses_data_is_refused(name):
    with pytest.raises(UsageError, match=f'{name}.*not supported.*loses outputs.*local run'):
        place(name, 4, {})


@pytest.fixture
def no_network(monkeypatch):
    """Beam's checks of options, which look for buckets and credentials, are content."""
    monkeypatch.setattr(runners.PipelineOptionsValidator, 'validate', lambda self: [])


@pytest.mark.usefixtures('no_network')
def test_dataflow():
    placement = place(
        'DataflowRunner',
        4,
        {'project': 'corpus-1', 'region': 'europe-west1', 'temp_location': 'gs://bucket/tmp', 'num_workers': 7},
    )
    assert type(placement.runner).__name__ == 'DataflowRunner'
    assert (placement.is_local, placement.is_here, placement.streams) == (False, False, 1)
    assert placement.options.view_as(StandardOptions).runner == 'DataflowRunner'
    cloud = placement.options.view_as(GoogleCloudOptions)
    assert (cloud.project, cloud.region, cloud.temp_location) == ('corpus-1', 'europe-west1', 'gs://bucket/tmp')
    assert placement.options.view_as(WorkerOptions).num_workers == 7


@pytest.mark.usefixtures('no_network')
@pytest.mark.parametrize(
    ('beam_options', 'streams'),
    [
        ({}, 1),
        ({'number_of_worker_harness_threads': 20}, 1),  # of each of many processes
        ({'number_of_worker_harness_threads': 20, 'experiments': ['no_use_multiple_sdk_containers']}, 20),
        ({'experiments': ['no_use_multiple_sdk_containers']}, 1),
    ],
)
def test_threads_of_the_one_process_of_a_worker_are_streams(beam_options, streams):
    cloud = {'project': 'corpus-1', 'region': 'europe-west1', 'temp_location': 'gs://bucket/tmp'}
    assert place('DataflowRunner', 4, {**cloud, **beam_options}).streams == streams


def test_other_runners_are_passed_on():
    placement = place('FlinkRunner', 4, {'flink_master': 'localhost:8081'})
    assert (type(placement.runner).__name__, placement.is_local) == ('FlinkRunner', False)
    assert placement.options.get_all_options()['flink_master'] == 'localhost:8081'


@pytest.mark.parametrize('name', ['NoSuchRunner', 'no.such.Runner', 'dask'])
def test_unknown_runners_are_refused_in_one_line(name):
    with pytest.raises(UsageError, match=f'runner {name} cannot be used: .*--runner') as error:
        place(name, 4, {})
    assert '\n' not in str(error.value)


@pytest.mark.usefixtures('no_network')
def test_words_of_the_command_line_of_this_process_are_not_read(monkeypatch):
    monkeypatch.setattr('sys.argv', ['pytest', '--direct_num_workers', '9', '--project', 'other'])
    for name in ('local', 'DataflowRunner'):
        options = place(name, 2, {}).options
        assert options.view_as(GoogleCloudOptions).project is None
        assert options.view_as(DirectOptions).direct_num_workers != 9


class SlowText(str):
    """Takes its time to be written."""


class SlowCoder(beam.coders.Coder):
    def encode(self, value: SlowText) -> bytes:
        time.sleep(0.1)  # other threads have their turn
        return value.encode()

    def decode(self, encoded: bytes) -> SlowText:
        return SlowText(encoded.decode())

    def is_deterministic(self) -> bool:
        return True


def test_elements_arrive_whole_however_long_they_take_to_write(tmp_path):
    """Beam's timer would send what there is in the middle of an element."""
    beam.coders.registry.register_coder(SlowText, SlowCoder)
    placement = place('local', 2, {})
    texts = [f'text {number}' for number in range(30)]
    with beam.Pipeline(runner=placement.runner, options=placement.options) as pipeline:
        _ = (
            pipeline
            | beam.Create(texts)
            | beam.Map(SlowText).with_output_types(SlowText)
            | beam.Reshuffle()
            | beam.Map(lambda text: (tmp_path / text).write_text(''))
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(texts)
