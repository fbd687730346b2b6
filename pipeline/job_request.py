"""The request that a Dataflow job would be started with, built without a network, and what of it concerns people.

Stands on Beam's own dry run, and on the message that Beam sends: Google's client in newer versions of Beam, apitools in
older ones; both give the same JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, TestOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from ..model.errors import UsageError
from .runners import Placement

PIPELINE_FILE = 'pipeline.pb'  # the graph, as Beam stages it
_HINTS = {
    common_urns.resource_hints.ACCELERATOR.urn: 'accelerator',
    common_urns.resource_hints.MIN_RAM_BYTES.urn: 'min_ram',
}
PAR_DO = common_urns.primitives.PAR_DO.urn


def dataflow_request(placement: Placement, build: Callable[[beam.Pipeline], None]) -> dict[str, Any]:
    """The job that `build` makes, as Dataflow would be asked to run it.

    Args:
      placement: a Dataflow runner with its options, among them `dry_run`.
      build: adds the graph to a pipeline.

    Returns:
      What `describe_request` gives.

    Raises:
      UsageError: Beam's package for Google Cloud is not installed.
    """
    try:
        from apache_beam.runners.dataflow.internal import apiclient
    except ImportError as error:
        raise UsageError(f"Dataflow jobs need packages of Google's ({error}): pip install 'stembeam[gcp]'") from error
    placement.options.view_as(TestOptions).dry_run = True
    pipeline = placement.new_pipeline()
    build(pipeline)
    job = pipeline.run().job  # type: ignore[attr-defined]  # of Dataflow's dry runs alone
    cloud = job.options.view_as(GoogleCloudOptions)
    environment = apiclient.Environment(
        packages=[],
        options=job.options,
        environment_version=apiclient._FNAPI_ENVIRONMENT_MAJOR_VERSION,
        proto_pipeline_staged_url=f'{cloud.staging_location}/{PIPELINE_FILE}',
        proto_pipeline=job.proto_pipeline,
    )
    return describe_request(_json_of(job.proto), _json_of(environment.proto), job.proto_pipeline, cloud)


def _json_of(message: Any) -> dict[str, Any]:
    """A message of Beam's client as JSON: names in camelCase, what is not set left out."""
    if hasattr(message, '_pb'):
        from google.protobuf import json_format

        return json_format.MessageToDict(message._pb)
    from apitools.base.py import encoding

    return json.loads(encoding.MessageToJson(message))


def describe_request(
    job: dict[str, Any], environment: dict[str, Any], pipeline: Any, cloud: GoogleCloudOptions
) -> dict[str, Any]:
    """What of a request decides where and how a job runs.

    Args:
      job, environment: the messages as JSON.
      pipeline: the proto of the graph.
      cloud: the options by which it is sent.
    """
    return {
        'job': {key: job[key] for key in ('name', 'type', 'labels') if key in job},
        'project': cloud.project,
        'region': cloud.region,
        'experiments': environment.get('experiments', []),
        'serviceOptions': environment.get('serviceOptions', []),
        'workerPools': [_pool(pool) for pool in environment['workerPools']],
        'environments': _environments(pipeline),
        'staged': [f'{cloud.staging_location}/{PIPELINE_FILE}', *_artifacts(pipeline, cloud)],
        'tempLocation': cloud.temp_location,
        **({'serviceAccount': environment['serviceAccountEmail']} if 'serviceAccountEmail' in environment else {}),
    }


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    """A worker pool without what is the same in every job."""
    fixed = ('kind', 'packages', 'taskrunnerSettings')
    told = {key: value for key, value in sorted(pool.items()) if key not in fixed}
    images = sorted({image['containerImage'] for image in pool.get('sdkHarnessContainerImages', ())})
    return {**told, **({'sdkHarnessContainerImages': images} if images else {})}


def _environments(pipeline: Any) -> list[dict[str, Any]]:
    """Where the steps run: image, resource hints and, where there are hints, the steps that ask for them."""
    found = []
    for name, environment in sorted(pipeline.components.environments.items()):
        steps = sorted(
            transform.unique_name
            for transform in pipeline.components.transforms.values()
            if transform.environment_id == name and transform.spec.urn == PAR_DO
        )
        if steps:
            payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
            hints = {_HINTS.get(urn, urn): value.decode() for urn, value in sorted(environment.resource_hints.items())}
            where = {'steps': steps} if hints else {'otherSteps': len(steps)}
            found.append({'image': payload.container_image, 'resourceHints': hints, **where})
    return sorted(found, key=lambda entry: len(entry['resourceHints']))


def _artifacts(pipeline: Any, cloud: GoogleCloudOptions) -> list[str]:
    """Files that are staged for the workers beside the graph."""
    names = set()
    for environment in pipeline.components.environments.values():
        for artifact in environment.dependencies:
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
            names.add(role.staged_name)
    return [f'{cloud.staging_location}/{name}' for name in sorted(names)]
