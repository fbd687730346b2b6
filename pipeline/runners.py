"""Where a run happens: in this process by default, on any Beam runner by name.

Local runs use Beam's in-process runner by its class. `DirectRunner` by name would first try to download another one.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.runner import PipelineRunner, create_runner

from ..model.errors import UsageError
from .execution import send_whole_elements, watch_worker_processes

LOCAL_NAMES = ('direct', 'directrunner', 'local', 'fnapirunner', 'bundlebaseddirectrunner')
UNSUPPORTED = {'daskrunner': 'it loses outputs silently: use a local run, or another runner'}


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class Placement(NamedTuple):
    """A runner with its options."""

    runner: PipelineRunner
    options: PipelineOptions
    is_local: bool
    streams: int  # threads of one process that separate at the same time
    is_here: bool  # in this process

    def new_pipeline(self) -> beam.Pipeline:
        """An empty pipeline that runs there.

        Beam gives it a temporary folder, for the JARs of transforms in Java, which stays there unless the run comes to
        its end in this process. We have no such transforms, so it goes at once.
        """
        pipeline = beam.Pipeline(runner=self.runner, options=self.options)
        shutil.rmtree(pipeline.local_tempdir)
        return pipeline


def place(runner: str | None, workers: int, beam_options: dict[str, Any]) -> Placement:
    """The runner that an option names.

    Raises:
      UsageError: a runner that is unknown, not installed or known not to work, or lacks options that it needs.
    """
    name = (runner or 'local').lower().rpartition('.')[2]
    if name in UNSUPPORTED:
        raise UsageError(f'runner {runner} is not supported: {UNSUPPORTED[name]}')
    if name not in LOCAL_NAMES:
        options = PipelineOptions(flags=[], runner=runner, **beam_options)
        return Placement(
            _create(runner or '', options), options, is_local=False, streams=_streams(options), is_here=False
        )
    mode = beam_options.get('direct_running_mode') or ('multi_threading' if workers > 1 else 'in_memory')
    local = {'direct_num_workers': workers, **beam_options, 'direct_running_mode': mode}
    options = PipelineOptions(flags=[], **local)
    watch_worker_processes()
    send_whole_elements()
    is_here = mode != 'multi_processing'
    streams = int(local['direct_num_workers']) if is_here else 1
    return Placement(FnApiRunner(provision_info=_provision(options)), options, True, streams, is_here)


def _streams(options: PipelineOptions) -> int:
    """Threads of one worker process of a runner elsewhere, as far as it is us who decide."""
    debug = options.view_as(DebugOptions)
    if 'no_use_multiple_sdk_containers' not in (debug.experiments or ()):
        return 1  # a process for each core
    return debug.number_of_worker_harness_threads or 1


def _create(name: str, options: PipelineOptions) -> PipelineRunner:
    """A runner of Beam's by its name. Beam itself would complain only when the pipeline is built."""
    try:
        runner = create_runner(name)
        problems = PipelineOptionsValidator(options, runner).validate()
    except (ValueError, ImportError, AttributeError) as error:
        problems = [str(error)]
    if problems:
        said = ' '.join(' '.join(problems).split()).rstrip('.')
        raise UsageError(f'runner {name} cannot be used: {said}; or leave --runner out to run on this machine')
    return runner


def _provision(options: PipelineOptions) -> ExtendedProvisionInfo:
    """What worker processes are told; the runner itself would not pass the options on to them."""
    said = {'default_sdk_harness_log_level': 'ERROR', **options.get_all_options(drop_default=True)}
    # Numbers as text: the record knows floats only, and '2.0' is no number of workers.
    plain = {
        name: value if isinstance(value, bool) else str(value)
        for name, value in said.items()
        if isinstance(value, str | bool | int | float)
    }
    info = beam_provision_api_pb2.ProvisionInfo(retrieval_token='none')
    info.pipeline_options.update(plain)
    return ExtendedProvisionInfo(info)
