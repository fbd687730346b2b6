"""The written record of a run: `log.jsonl`, and event files for TensorBoard where that package is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from .model_folder import write_text

LOG_FILE = 'log.jsonl'
EVENTS = 'events'  # folder below the model's


class Summaries:
    """Writes the same values to the log and to TensorBoard."""

    def __init__(self, folder: str, step: int) -> None:
        """Go on with the records of a run at a step: later ones, of a run that was killed, are taken back."""
        self.path = os.path.join(folder, LOG_FILE)
        self.tensorboard = importlib.util.find_spec('tensorboard') is not None
        if os.path.exists(self.path):
            with open(self.path, encoding='utf-8') as file:
                lines = [line for line in file if _step_of(line) <= step]
            write_text(self.path, ''.join(lines))
        self._writer: Any = None
        if self.tensorboard:
            import tensorflow as tf

            self._tf = tf
            self._writer = tf.summary.create_file_writer(os.path.join(folder, EVENTS))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Record values at a step."""
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(
                json.dumps({'step': step, **{key: float(f'{value:.7g}') for key, value in values.items()}}) + '\n'
            )
        if self._writer is not None:
            with self._writer.as_default():
                for key, value in values.items():
                    self._tf.summary.scalar(key, value, step=step)
            self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError):
        return math.inf  # cut off by a kill
