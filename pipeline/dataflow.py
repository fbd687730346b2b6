"""What a Dataflow job needs beyond what the user has to say: defaults, the accelerator, and checks of what Beam would
send on unread.

Stands on presets for everything that is a matter of choice. The one idea: a GPU belongs to the workers of the
inference steps alone (a resource hint: right fitting), or to all workers (the service option worker_accelerator);
Dataflow's documentation rules out both together.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

from ..model.errors import UsageError
from ..transforms.storage import PRIVATE
from .runners import Placement

NAMES = ('dataflowrunner', 'testdataflowrunner')
WORKER_ACCELERATOR = 'worker_accelerator'
MACHINE_TYPE = 'machine_type'
LISTS = ('experiments', 'dataflow_service_options')
_BUCKET_FOLDER = re.compile(r'gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/[^\r\n]*')
# Free-form to Beam and Dataflow, which ignore what they do not know; near misses of these names are mistakes.
KNOWN = {
    'experiments': (
        'use_runner_v2',
        'use_multiple_sdk_containers',
        'no_use_multiple_sdk_containers',
        'enable_prime',
        'shuffle_mode',
        'min_cpu_platform',
        'upload_graph',
        'pre_optimize',
    ),
    'dataflow_service_options': (
        WORKER_ACCELERATOR,
        'enable_prime',
        'enable_preflight_validation',
        'enable_google_cloud_profiler',
        'automatically_use_created_reservation',
        'max_workflow_runtime_walltime_seconds',
    ),
}


def is_dataflow(runner: str | None) -> bool:
    """Whether a runner, as the user names it, is Dataflow's."""
    return (runner or '').lower().rpartition('.')[2] in NAMES


def complete_options(options: argparse.Namespace, beam: dict[str, Any]) -> dict[str, Any]:
    """Beam's options for a run, complete; on other runners than Dataflow's as they are.

    Args:
      options: ours.
      beam: Beam's, as parsed: those of a preset first, then the user's.

    Raises:
      UsageError: an option of Dataflow for another runner, a misspelt experiment, or something that is missing.
    """
    if not is_dataflow(options.runner):
        for name in ('accelerator', 'inference_ram'):
            if getattr(options, name) is not None:
                raise UsageError(
                    f'--{name.replace("_", "-")} is for Dataflow alone, and the runner is {options.runner or "local"}: '
                    'leave it out, or give --preset dataflow-l4'
                )
        return beam
    done = {**beam, **{name: _last_of_each(beam[name]) for name in LISTS if beam.get(name)}}
    for name in LISTS:
        _check_spelling(name, done.get(name, ()))
    if options.accelerator is not None:
        _give_accelerator(options, done)
    if not done.get('temp_location') and not done.get('staging_location'):
        if not options.output.startswith('gs://'):
            raise UsageError('Dataflow needs a folder gs://... for its own files: name one with --temp_location')
        done['temp_location'] = f'{options.output.rstrip("/")}/{PRIVATE}/beam'
    for name in ('temp_location', 'staging_location'):
        # Beam would go and make a bucket of its own.
        if done.get(name) and not _BUCKET_FOLDER.fullmatch(done[name]):
            raise UsageError(f'--{name} {done[name]} is no folder of a bucket: write gs://bucket/folder')
    # Nothing of ours lives in the main module, and a pickle of it would only tie workers to the launcher's.
    done.setdefault('save_main_session', False)
    done.setdefault('job_name', f'stembeam-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}')
    if done.get('sdk_container_image'):
        done['sdk_container_image'] = _image(done['sdk_container_image'], done)
    return done


def waits(options: argparse.Namespace, placement: Placement) -> bool:
    """Whether a run ends with its job. Of a template others start the job, so there is nothing to wait for."""
    return placement.is_local or (options.wait and not placement.options.view_as(GoogleCloudOptions).template_location)


def inference_hints(options: argparse.Namespace) -> dict[str, str]:
    """Beam's resource hints for the inference steps; none if all workers have the accelerator."""
    hints = {'accelerator': options.accelerator, 'min_ram': options.inference_ram}
    if options.accelerator is not None and options.accelerator_on == 'workers':
        return {}
    return {name: value for name, value in hints.items() if value is not None}


def _give_accelerator(options: argparse.Namespace, beam: dict[str, Any]) -> None:
    """Take the accelerator into the service options if all workers shall have it; check that it is said once."""
    services = beam.get('dataflow_service_options', [])
    if any(_key(item) == WORKER_ACCELERATOR for item in services):
        raise UsageError(
            f'--accelerator and --dataflow_service_options {WORKER_ACCELERATOR} exclude each other: '
            'give --accelerator alone, with --accelerator-on workers if all workers shall have it'
        )
    if options.accelerator_on == 'workers':
        parts = [part.partition(':') for part in options.accelerator.split(';')]
        spec = ';'.join(''.join(part) for part in parts if part[0] != MACHINE_TYPE)
        beam['dataflow_service_options'] = [*services, f'{WORKER_ACCELERATOR}={spec}']
        beam.update((name, value) for name, _, value in parts if name == MACHINE_TYPE)


def _key(item: str) -> str:
    """What two items of a list have in common that exclude each other."""
    name = item.partition('=')[0]
    return name.removeprefix('no_') if name.removeprefix('no_') == 'use_multiple_sdk_containers' else name


def _last_of_each(items: Iterable[str]) -> list[str]:
    """Items of which a later one with the same key has replaced the earlier one: the user's win over the preset's."""
    return list({_key(item): item for item in items}.values())


def _check_spelling(option: str, items: Iterable[str]) -> None:
    for item in items:
        name = item.partition('=')[0]
        near = difflib.get_close_matches(name, KNOWN[option], n=1, cutoff=0.85)
        if near and name not in KNOWN[option]:
            raise UsageError(f'--{option} {name} is not known: did you mean {near[0]}?')


def _image(pattern: str, beam: dict[str, Any]) -> str:
    """The container image, with what stands in braces filled in."""
    values = {
        'project': (beam.get('project') or '').replace(':', '/'),  # domain:project is a folder of its registry
        'region': beam.get('region') or '',
        'version': importlib.metadata.version('stembeam'),
    }
    for name in ('project', 'region'):
        if f'{{{name}}}' in pattern and not values[name]:
            raise UsageError(f'--{name} is missing, which the image {pattern} needs: name it')
    try:
        return pattern.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(
            f'--sdk_container_image {pattern}: only {{project}}, {{region}} and {{version}} may stand in braces: '
            'correct it'
        ) from error
