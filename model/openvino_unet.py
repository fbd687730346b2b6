"""The folded U-Net (see folding.py) in OpenVINO: the networks without TensorFlow, for CPUs.

Built operation by operation from the weights. OpenVINO lays channels out in its own way; from outside, tensors are as
everywhere: channels last.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .configuration import ModelConfig
from .folding import UNCHANGED, Affine, Array, folded_logits

LEAK = 0.2  # of LeakyReLU, as in `unet.activation`
TELEMETRY = 'openvino_telemetry'


def import_openvino() -> Any:
    """The package, without the telemetry that it otherwise sends to its maker whenever it is imported.

    Raises:
      ImportError: it is not installed.
    """
    if 'openvino' not in sys.modules and TELEMETRY not in sys.modules:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as if not installed: OpenVINO does without it then
        try:
            return importlib.import_module('openvino')
        finally:
            del sys.modules[TELEMETRY]
    return importlib.import_module('openvino')


class _OpenVinoLayers:
    """`folding.Layers`; nodes are (patches, channels, rows, columns)."""

    def __init__(self, openvino: Any) -> None:
        self.ops = openvino.opset13

    def _constant(self, values: Array) -> Any:
        return self.ops.constant(np.ascontiguousarray(values, np.float32))

    def convolution(self, inputs: Any, kernel: Array, bias: Array, stride: int = 1, dilation: int = 1) -> Any:
        padding = (len(kernel) - 1) * dilation - (stride - 1)  # "same", for even lengths
        before, after = [padding // 2] * 2, [padding - padding // 2] * 2
        weights = self._constant(kernel.transpose(3, 2, 0, 1))
        found = self.ops.convolution(inputs, weights, [stride] * 2, before, after, [dilation] * 2)
        return self._affine(found, Affine(None, bias))

    def transposed(self, inputs: Any, kernel: Array) -> Any:
        weights = self._constant(kernel.transpose(3, 2, 0, 1))
        return self.ops.convolution_backprop_data(inputs, weights, [2, 2], pads_begin=[1, 1], pads_end=[2, 2])

    def _affine(self, inputs: Any, affine: Affine) -> Any:
        if affine.scale is not None:
            inputs = self.ops.multiply(inputs, self._constant(affine.scale.reshape(1, -1, 1, 1)))
        if affine.shift is not None:
            inputs = self.ops.add(inputs, self._constant(affine.shift.reshape(1, -1, 1, 1)))
        return inputs

    def activation(self, inputs: Any, before: Affine, name: str, after: Affine = UNCHANGED) -> Any:
        inputs = self._affine(inputs, before)
        if name == 'LeakyReLU':
            found = self.ops.prelu(inputs, self._constant(np.array([LEAK])))
        else:
            found = self.ops.relu(inputs) if name == 'ReLU' else self.ops.elu(inputs, 1.0)
        return self._affine(found, after)

    def concatenation(self, first: Any, second: Any) -> Any:
        return self.ops.concat([first, second], 1)

    def pixels(self, blocks: Any) -> Any:
        return self.ops.depth_to_space(blocks, 'blocks_first', 2)


def _model(
    openvino: Any,
    config: ModelConfig,
    weights: Mapping[str, Array],
    stems: Sequence[str],
    shares: bool,
    batch_size: int,
) -> Any:
    ops = openvino.opset13
    shape = [batch_size, config.frames, config.bins, config.channels]
    given = ops.parameter(shape, np.float32, 'magnitude')
    magnitude = ops.transpose(given, np.array([0, 3, 1, 2]))
    layers = _OpenVinoLayers(openvino)
    logits = [folded_logits(layers, config, weights, config.instruments.index(name), magnitude) for name in stems]
    if config.model_type == 'unet.softmax_unet':
        stacked = ops.concat([ops.unsqueeze(logit, np.array(0)) for logit in logits], 0)
        parts = ops.split(ops.softmax(stacked, 0), np.array(0), len(logits))
        outputs = [ops.squeeze(parts.output(stem), np.array(0)) for stem in range(len(logits))]
    else:
        outputs = [ops.sigmoid(logit) for logit in logits]
    if not shares:
        outputs = [ops.multiply(share, magnitude) for share in outputs]
    return openvino.Model([ops.transpose(output, np.array([0, 2, 3, 1])) for output in outputs], [given], 'unet')


class OpenVinoNetworks:
    """The networks of some stems, compiled for this CPU; may be called from several threads at once."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Array],
        stems: Sequence[str],
        shares: bool = False,
        batch_size: int = 1,
        streams: int | None = None,
    ) -> None:
        """Build and compile.

        Args:
          stems, shares: as in `unet.build_unet`; all stems of a softmax_unet.
          streams: threads that will call, each with one core; None: one, with all cores.

        Raises:
          ImportError: OpenVINO is not installed.
        """
        openvino = import_openvino()
        settings: dict[str, Any] = {'NUM_STREAMS': streams or 1, 'ENABLE_CPU_PINNING': False}
        if streams is not None:
            settings['INFERENCE_NUM_THREADS'] = streams
        settings['INFERENCE_PRECISION_HINT'] = 'f32'  # never half precision, whatever the CPU is good at
        model = _model(openvino, config, weights, stems, shares, batch_size)
        self._compiled = openvino.Core().compile_model(model, 'CPU', settings)
        self._requests = threading.local()

    def __call__(self, magnitude: np.ndarray) -> list[np.ndarray]:
        """What the networks make of a batch.

        Args:
          magnitude: float32 (batch_size, T, F, channels).

        Returns:
          Per stem the same shape; valid until the same thread calls again.
        """
        if not hasattr(self._requests, 'own'):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer([magnitude], share_inputs=True, share_outputs=True)
        return [request.get_output_tensor(stem).data for stem in range(len(self._compiled.outputs))]
