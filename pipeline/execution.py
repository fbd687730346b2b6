"""Running a pipeline so that people can live with it: trouble is told once, in one line; Ctrl-C works at once; a worker
process that dies ends the run.

Stands on Beam's in-process runner, which by itself prints a traceback for every step that an error passes, lets Ctrl-C
hit whatever a library is doing at the moment, and waits for ever for an answer of a dead worker process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.runners.runner import PipelineResult

from ..model.errors import RunError
from ..transforms.metrics import NAMESPACE, STORE_RETRIES
from ..transforms.watchdog import HUNG
from .logs import TextFormatter
from .stores import RetryCount

T = TypeVar('T')


class WorkerDied(RunError):
    """A worker process died, and with it the run."""

    def __init__(self, status: int, last_words: str) -> None:
        """`status` as subprocess or a shell has it; `last_words` on its standard error."""
        number = status - 128 if status > 128 else -status
        try:
            name = signal.Signals(number).name
            self.how = f'a worker process died of {name}'
        except ValueError:
            name = ''
            hung = ', because a decoder hung' if status == HUNG else f' (its last words: {last_words!r})'
            self.how = f'a worker process ended with status {status}{hung}'
        self.is_kill = name == 'SIGKILL'
        super().__init__(
            f'{self.how}, perhaps for want of memory: everything that is complete is kept; '
            'run the same command again, with fewer --workers'
        )


def execute(pipeline: beam.Pipeline, wait: bool = True) -> PipelineResult:
    """Run a pipeline to its end, or only start it, where that is elsewhere and nobody waits.

    Returns:
      What Beam says of it.

    Raises:
      WorkerDied: a worker process did.
      RunError: a step raised one, in whatever process.
      Exception: any other error that no step has made a Failure of; what Beam says of it is on standard error.
    """
    deaths.clear()

    def run() -> PipelineResult:
        result = pipeline.run()
        if wait:
            result.wait_until_finish()
        return result

    with _messages_held_back():
        try:
            return _in_a_thread(run)
        except Exception as error:
            # Runners hand worker errors on as text or with text added; a RunError in it is what the user has to know.
            if deaths:
                raise deaths[0] from error
            said = re.search(r'RunError: (.*)', f'{type(error).__name__}: {error}')
            if said:
                raise RunError(re.split(r' \[while running|\\n', said[1])[0]) from error
            raise


def all_retries(here: RetryCount, result: PipelineResult | None, is_local: bool) -> int | None:
    """How many requests to stores a run has made again, here and in its workers; None if its runner does not say.

    Args:
      here: see `counted_retries`.
      result: None if there was nothing to run.
      is_local: see Placement.
    """
    if result is None or is_local:
        return here()
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE).with_name(STORE_RETRIES))
    except NotImplementedError:
        return None
    return here() + sum(counter.result or 0 for counter in found['counters'])


def _in_a_thread(function: Callable[[], T]) -> T:
    """Call a function while the main thread does nothing but wait, so that Ctrl-C ends the waiting and nothing else."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # raised again below
            errors.append(error)

    thread = threading.Thread(target=call, name='run', daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _messages_held_back() -> Iterator[None]:
    """Hold back what others than us log or print on standard error, and drop it if a RunError or Ctrl-C says it all."""
    held = io.StringIO()

    def is_ours(record: logging.LogRecord) -> bool:
        if record.name.startswith('stembeam'):
            return True
        held.write(form.format(record) + '\n')
        return False

    handlers = list(logging.getLogger().handlers)
    form = next((h.formatter for h in handlers if h.formatter is not None), TextFormatter())
    try:
        for handler in handlers:
            handler.addFilter(is_ours)
        with contextlib.redirect_stderr(held):
            yield
    except (RunError, KeyboardInterrupt):
        raise
    except BaseException:
        sys.stderr.write(held.getvalue())
        raise
    else:
        sys.stderr.write(held.getvalue())
    finally:
        for handler in handlers:
            handler.removeFilter(is_ours)


deaths: list[WorkerDied] = []  # of worker processes of this run


class WatchedWorkerHandler(worker_handlers.SubprocessSdkWorkerHandler):
    """Beam's handler of a worker process, but the death of the process is the answer to all that it was asked."""

    def start_worker(self) -> None:
        """Start the process, and a thread that waits for its end."""
        self._stderr = tempfile.NamedTemporaryFile(prefix='stembeam-worker-')  # noqa: SIM115  # lives as long as self
        weakref.finalize(self, self._stderr.close)  # and goes with it, or when Ctrl-C ends the process
        command = self._worker_command_line + f' 2>{self._stderr.name}'.encode()
        self.worker = SubprocessSdkWorker(command, self.control_address, self.provision_info, self.worker_id)
        self.worker_thread = threading.Thread(name='run_worker', target=self._wait, daemon=True)
        self.worker_thread.start()

    def _wait(self) -> None:
        try:
            self.worker.run()
        except RuntimeError as error:  # the exit status is not 0
            last = self._stderr.read().decode(errors='replace').strip().rpartition('\n')[2]
            deaths.append(WorkerDied(int(re.findall(r'-?\d+', str(error))[-1]), last))
            self._answer_all(f'RunError: {deaths[-1]}')

    def _answer_all(self, error: str) -> None:
        connection = self.control_conn

        def push(request: object) -> worker_handlers.ControlFuture | None:
            if not isinstance(request, beam_fn_api_pb2.InstructionRequest):
                connection._push_queue.put(request)  # type: ignore[arg-type]  # the mark of the end
                return None
            return answered(request.instruction_id)

        def answered(instruction: str) -> worker_handlers.ControlFuture:
            return worker_handlers.ControlFuture(
                instruction, beam_fn_api_pb2.InstructionResponse(instruction_id=instruction, error=error)
            )

        connection.push = push  # type: ignore[assignment, method-assign]
        for instruction, future in list(connection._futures_by_id.items()):
            future.set(answered(instruction).get())


def send_whole_elements() -> None:
    """Keep the threads of local runs from sending what they have so far every second, in this process.

    Beam's timer does so in the middle of an element, too, if its coder is Python code (as those of our records are):
    what arrives then cannot be decoded, or is lost in silence. Buffers are still sent when they have grown to 10 MB.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


def watch_worker_processes() -> None:
    """Have Beam use WatchedWorkerHandler for the worker processes of local runs, in this process."""
    worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WatchedWorkerHandler)
