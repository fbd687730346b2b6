"""The inside of a measuring process: tasks come as lines of JSON, answers go back as lines of JSON.

Runs in environments of peers too: standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def serve(prepare: Callable[[dict[str, Any]], Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Answer tasks until standard input ends.

    Args:
      prepare: from the configuration (the JSON of the process's argument) to the function from tasks to answers. What
        it does counts as warm-up.
    """
    # Answers have standard output to themselves; whatever libraries print goes to the log.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + '\n')
        answers.flush()

    try:
        began = time.perf_counter()
        handle = prepare(json.loads(sys.argv[1]))
        answer({'start': time.perf_counter() - began})
        for line in sys.stdin:
            answer(handle(json.loads(line)))
    except Exception as error:
        answer({'error': '{}: {}'.format(type(error).__name__, str(error).strip().split('\n')[0])})
        raise


def serve_tracks(prepare: Callable[[dict[str, Any]], Callable[[str], None]]) -> None:
    """Answer tasks with the seconds that each of their 'tracks' took.

    Args:
      prepare: from the configuration to the function that separates a track; it is warmed up with 'warm_up' of the
        configuration.
    """

    def warmed_up(config: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        separate = prepare(config)

        def seconds(path: str) -> float:
            began = time.perf_counter()
            separate(path)
            return time.perf_counter() - began

        seconds(config['warm_up'])
        return lambda task: {'seconds': [seconds(path) for path in task['tracks']]}

    serve(warmed_up)


def timed(function: Callable[[], Any], streams: int = 1) -> dict[str, Any]:
    """Call a function in `streams` threads at the same time.

    Returns:
      'wall' and 'cpu' seconds (of all threads of the process), and the 'results' of the threads.
    """
    results: list[Any] = [None] * streams
    errors: list[BaseException] = []
    ready = threading.Barrier(streams + 1)

    def call(number: int) -> None:
        ready.wait()
        try:
            results[number] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    cpu, wall = time.process_time(), time.perf_counter()
    ready.wait()
    for thread in threads:
        thread.join()
    took = {'wall': time.perf_counter() - wall, 'cpu': time.process_time() - cpu, 'results': results}
    if errors:
        raise errors[0]
    return took
