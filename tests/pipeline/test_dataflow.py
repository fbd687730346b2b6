"""The whole request of a Dataflow job is built, without a network, and looked at."""

from __future__ import annotations

import importlib.metadata
import re
import socket

import pytest

from stembeam.model.errors import UsageError
from stembeam.pipeline.cli import main
from stembeam.pipeline.dataflow import complete_options, inference_hints
from stembeam.pipeline.options import parse_separate

from .dataflow_jobs import CLOUD, request, told

pytest.importorskip(
    'apache_beam.runners.dataflow.internal.apiclient',
    reason="Dataflow needs stembeam[gcp], which the oldest versions' environment has not",
    exc_type=ImportError,
)

IMAGE = f'europe-west4-docker.pkg.dev/my-project/stembeam/stembeam:{importlib.metadata.version("stembeam")}'
SSD = 'compute.googleapis.com/projects//zones//diskTypes/pd-ssd'
BASICS = ['use_runner_v2', 'no_use_multiple_sdk_containers']
L4 = 'type:nvidia-l4;count:1;machine_type:g2-standard-16;install-nvidia-driver'
T4 = 'type:nvidia-tesla-t4;count:1;machine_type:n1-standard-16;install-nvidia-driver'
HINTS = {
    'dataflow-l4': {'accelerator': L4, 'min_ram': '48000000000'},
    'dataflow-t4': {'accelerator': T4, 'min_ram': '48000000000'},
    'dataflow-cpu': {'min_ram': '16000000000'},
}
# image, machine type, disk, threads, most workers
POOLS = {
    'dataflow-l4': ('gpu', 'n2-standard-8', 100, 20, 20),
    'dataflow-t4': ('gpu', 'n1-standard-8', 100, 20, 20),
    'dataflow-cpu': ('cpu', 'n2-standard-8', 50, 8, 100),
}
INFERENCE = 'SeparateTracks/Separate/BeamML_RunInference'


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f'the network is used: {arguments}')

    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)


@pytest.mark.parametrize('preset', HINTS)
def test_the_request_of_a_preset(preset, tiny_model):
    image, machine, disk, threads, workers = POOLS[preset]
    found = request(tiny_model, '--preset', preset)
    assert found['job'] == {'name': 'corpus-1', 'type': 'JOB_TYPE_BATCH'}
    assert (found['project'], found['region'], found['serviceOptions']) == ('my-project', 'europe-west4', [])
    assert found['experiments'][:2] == BASICS
    assert not {'use_multiple_sdk_containers', 'disable_runner_v2'} & set(found['experiments'])
    (pool,) = found['workerPools']
    images = pool.pop('sdkHarnessContainerImages')
    assert images == [f'{IMAGE}-{image}']
    assert pool == {
        'autoscalingSettings': {'algorithm': 'AUTOSCALING_ALGORITHM_BASIC', 'maxNumWorkers': workers},
        'diskSizeGb': disk,
        'diskType': SSD,
        'machineType': machine,
        'numThreadsPerWorker': threads,
    }
    others, inference = found['environments']
    assert others['resourceHints'] == {}
    assert others['otherSteps'] > 30
    assert inference == {'image': images[0], 'resourceHints': HINTS[preset], 'steps': [INFERENCE]}
    folder = re.fullmatch(r'(gs://corpus/o/.stembeam/beam/corpus-1\.\d+\.\d+)/pipeline\.pb', found['staged'][0])
    assert folder
    assert found['tempLocation'] == folder[1]
    assert re.fullmatch(r'gs://corpus/o/.stembeam/models/[0-9a-f]{64}', found['staged'][-1])
    assert not any('pickled_main_session' in file for file in found['staged'])


@pytest.mark.parametrize(
    ('preset', 'service', 'machine'),
    [
        ('dataflow-l4', 'type:nvidia-l4;count:1;install-nvidia-driver', 'g2-standard-16'),
        ('dataflow-t4', 'type:nvidia-tesla-t4;count:1;install-nvidia-driver', 'n1-standard-16'),
    ],
)
def test_an_accelerator_on_all_workers(preset, service, machine, tiny_model):
    found = request(tiny_model, '--preset', preset, '--accelerator-on', 'workers')
    assert found['serviceOptions'] == [f'worker_accelerator={service}']
    assert [environment['resourceHints'] for environment in found['environments']] == [{}]
    (pool,) = found['workerPools']
    assert (pool['machineType'], pool['workerHarnessContainerImage']) == (machine, f'{IMAGE}-gpu')


def test_wiener_filters_of_long_tracks_are_inference_too(tiny_model):
    found = request(tiny_model, '--preset', 'dataflow-l4', '--mwf-iterations', '2')
    measured = [f'SeparateTracks/Filter/Measure{n}/Measure/BeamML_RunInference' for n in (1, 2)]
    assert found['environments'][1]['steps'] == [*measured, INFERENCE]


def test_the_command_line_wins(tiny_model):
    found = request(
        tiny_model,
        *('--preset', 'dataflow-l4', '--machine_type', 'e2-standard-4', '--max_num_workers', '3', '--disk_size_gb=200'),
        *('--experiments', 'use_multiple_sdk_containers', '--experiments=shuffle_mode=service'),
        *('--accelerator', L4.replace('count:1', 'count:2'), '--inference-ram', '60GB', '--num_workers', '2'),
        *('--sdk_container_image', 'example.com/mine:{version}', '--temp_location', 'gs://other/tmp'),
        *('--autoscaling_algorithm', 'NONE', '--no_use_public_ips', '--service_account_email', 'a@b.example'),
        *('--dataflow_service_options', 'enable_google_cloud_profiler', '--number_of_worker_harness_threads', '6'),
    )
    experiments = found['experiments']
    assert experiments[:3] == ['use_runner_v2', 'use_multiple_sdk_containers', 'shuffle_mode=service']
    assert 'no_use_multiple_sdk_containers' not in experiments
    (pool,) = found['workerPools']
    assert (pool['machineType'], pool['diskSizeGb'], pool['numThreadsPerWorker']) == ('e2-standard-4', 200, 6)
    assert pool['numWorkers'] == 2
    assert pool['autoscalingSettings'] == {'algorithm': 'AUTOSCALING_ALGORITHM_NONE', 'maxNumWorkers': 3}
    assert pool['ipConfiguration'] == 'WORKER_IP_PRIVATE'
    assert found['environments'][1]['image'] == f'example.com/mine:{importlib.metadata.version("stembeam")}'
    assert found['environments'][1]['resourceHints'] == {
        'accelerator': L4.replace('count:1', 'count:2'),
        'min_ram': '60000000000',
    }
    assert found['serviceOptions'] == ['enable_google_cloud_profiler']
    assert found['serviceAccount'] == 'a@b.example'
    assert found['tempLocation'].startswith('gs://other/tmp/corpus-1.')


def test_what_else_a_dry_run_tells(tiny_model):
    lines = told(tiny_model, *CLOUD, '--preset', 'dataflow-cpu', inputs=('gs://music/a.mp3', 'gs://music/more/'))
    assert 'tracks   1; not looked at without the network: gs://music/more/\n' in lines
    assert 'runner   DataflowRunner\n' in lines
    assert '"preset": "dataflow-cpu"' in lines


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ('--preset dataflow-l4 --region r', 'project'),
        ('--preset dataflow-l4 --project my-project', 'region'),
        ('--preset dataflow-l4 --project 17 --region r --sdk_container_image i', 'Project ID'),
        ('--preset dataflow-cpu --temp_location corpus/tmp', '--temp_location corpus/tmp is no folder of a bucket'),
        ('--preset dataflow-cpu --staging_location gs://B/x', '--staging_location gs://B/x is no folder'),
        ('--preset dataflow-cpu -o s3://corpus/out', 'needs a folder gs://'),
        ('--preset dataflow-cpu -o OUT --temp_location gs://tmp/x', 'cannot write to .*/OUT, a folder of this machine'),
        ('--preset dataflow-cpu setup.py', 'does not exist|cannot read'),
        ('--preset dataflow-cpu --experiments use_runner_v3', 'did you mean use_runner_v2'),
        (
            '--preset dataflow-cpu --experiments no_use_multiple_sdk_container',
            'did you mean no_use_multiple_sdk_containers',
        ),
        ('--preset dataflow-l4 --dataflow_service_options worker_acelerator=x', 'did you mean worker_accelerator'),
        (f'--preset dataflow-l4 --dataflow_service_options worker_accelerator={L4}', 'exclude each other'),
        ('--preset dataflow-cpu --worker_acelerator x', 'unrecognized arguments: --worker_acelerator'),
        ('--preset dataflow-cpu --max_num_worker 4', 'unrecognized arguments: --max_num_worker'),
        ('--preset dataflow-cpu --max_num_workers many', "invalid int value: 'many'"),
        ('--preset dataflow-cpu --accelerator l4', 'is not an accelerator'),
        ('--preset dataflow-cpu --sdk_container_image a:{tag}', 'only {project}, {region} and {version}'),
        ('--accelerator type:nvidia-l4;count:1', '--accelerator is for Dataflow alone, and the runner is local'),
        ('--runner FlinkRunner --inference-ram 3GB', '--inference-ram is for Dataflow alone.*FlinkRunner'),
    ],
)
def test_mistakes_are_told_in_one_line(options, words, tiny_model, capsys):
    cloud = () if 'project' in options or 'region' in options else CLOUD
    before = ['separate', 'gs://music/a.mp3', '-o', 'gs://corpus/o', '--model', str(tiny_model), *cloud, '--dry-run']
    assert main([*before, *options.split()]) == 2
    said = capsys.readouterr().err
    assert re.search(words, said), said
    assert said.count('\n') == 1


def test_workers_cannot_read_files_of_this_machine(tmp_path, tiny_model, capsys):
    song = tmp_path / 'a.mp3'
    song.touch()
    for options in (['--dry-run'], []):
        arguments = [
            'separate',
            str(song),
            '-o',
            'gs://corpus/o',
            '--model',
            str(tiny_model),
            '--preset',
            'dataflow-cpu',
        ]
        assert main([*arguments, *CLOUD, '--temp_location', 'gs://corpus/tmp', *options, '--dry-run']) == 2
        said = capsys.readouterr().err
        assert f'cannot read {song}, a file of this machine: copy the inputs to a place like gs://corpus/o' in said


def test_projects_of_a_domain_have_a_folder_in_their_registry():
    options, beam = parse_separate(
        ['x', '-o', 'gs://corpus/o', '--preset', 'dataflow-cpu', '--project', 'example.com:p', '--region', 'r']
    )
    done = complete_options(options, beam)
    assert done['sdk_container_image'].startswith('r-docker.pkg.dev/example.com/p/stembeam/stembeam:')
    assert done['job_name'].startswith('stembeam-')
    assert inference_hints(options) == {'min_ram': '16GB'}


def test_other_runners_get_their_options_as_they_are():
    options, beam = parse_separate(['x', '-o', 'out', '--runner', 'FlinkRunner', '--experiments', 'use_runner_v3'])
    assert complete_options(options, beam) is beam
    assert inference_hints(options) == {}
    with pytest.raises(UsageError, match='needs a folder gs://'):
        complete_options(*parse_separate(['x', '-o', 'out', '--runner', 'DataflowRunner']))
