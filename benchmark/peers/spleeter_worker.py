"""Spleeter inside one process: its Separator object, or a session that is kept open. Runs in Spleeter's environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .serving import serve_tracks


def prepare(config: dict[str, Any]) -> Callable[[str], None]:
    """`config`: the model's JSON file, 'object' or 'session', a track for warming up, and where stems go."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    from spleeter.audio.adapter import AudioAdapter
    from spleeter.separator import Separator

    separator = Separator(config['model'])
    adapter = AudioAdapter.default()

    if config['way'] == 'object':

        def separate(path: str) -> None:
            separator.separate_to_file(path, config['output'], audio_adapter=adapter, codec='flac')

    else:
        # The graph is built once and its session kept: what the class has methods for, and its command does not do.
        with separator._tf_graph.as_default():
            features = separator._get_features()
            outputs = {name: tensor for name, tensor in separator._get_builder().outputs.items() if name != 'audio_id'}
            session = separator._get_session()

        def separate(path: str) -> None:
            waveform, _ = adapter.load(path, sample_rate=44100)
            feed = separator._get_input_provider().get_feed_dict(features, waveform, path)
            stems = session.run(outputs, feed_dict=feed)
            separator.save_to_file(stems, path, config['output'], codec='flac', audio_adapter=adapter)

    return separate


if __name__ == '__main__':
    serve_tracks(prepare)
