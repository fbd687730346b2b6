"""A U-Net of Spleeter as ONNX, in the form that sherpa-onnx reads. Runs where sherpa-onnx is, on its package onnx.

The network is written node by node from the weights: float32 (channels, patches, T, F) magnitudes in and out.
"""

from __future__ import annotations

from typing import Any

LAYERS = 6
EPSILON = 1e-3  # of Spleeter's batch norms
META = {
    'model_type': 'spleeter',
    'sample_rate': 44100,
    'version': 1,
    'model_url': 'https://github.com/deezer/spleeter',
    'stems': 2,
    'comment': 'random weights',
    'model_name': '2stems',
}


def layer(kind: str, number: int) -> str:
    """The name of a layer in the checkpoint."""
    return kind if number == 0 else f'{kind}_{number}'


class Network:
    """Nodes and weights of the network of one stem, whose layers have the numbers of `stem` in the checkpoint."""

    def __init__(self, weights: Any, stem: int) -> None:
        """No nodes yet."""
        self.weights = weights
        self.stem = stem
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        from onnx import helper

        output = f'n{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Append a constant; returns its name."""
        import numpy as np
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str, order: Any = None) -> str:
        """A weight by its name in the checkpoint, its axes in another order."""
        value = self.weights[name]
        return self.constant(name, value if order is None else value.transpose(order))

    def norm(self, index: int, current: str) -> str:
        """A batch norm."""
        name = layer('batch_normalization', 12 * self.stem + index)
        parts = ('gamma', 'beta', 'moving_mean', 'moving_variance')
        inputs = [current] + [self.weight(f'{name}/{part}') for part in parts]
        return self.node('BatchNormalization', inputs, epsilon=EPSILON)

    def estimate(self, mixture: str) -> str:
        """From (patches, channels, T, F) magnitudes of the mixture to those of the stem."""
        skips = []
        current = mixture
        for index in range(LAYERS):
            name = layer('conv2d', 7 * self.stem + index)
            kernel, bias = self.weight(name + '/kernel', (3, 2, 0, 1)), self.weight(name + '/bias')
            # Stride 2 and an even size: TensorFlow's "same" pads one before and two after.
            raw = self.node('Conv', [current, kernel, bias], strides=[2, 2], pads=[1, 1, 2, 2])
            skips.append(raw)
            if index < LAYERS - 1:
                current = self.node('LeakyRelu', [self.norm(index, raw)], alpha=0.2)
        current = skips.pop()
        for index in range(LAYERS):
            name = layer('conv2d_transpose', 6 * self.stem + index)
            kernel, bias = self.weight(name + '/kernel', (3, 2, 0, 1)), self.weight(name + '/bias')
            up = self.node('ConvTranspose', [current, kernel, bias], strides=[2, 2], pads=[1, 1, 2, 2])
            current = self.norm(LAYERS + index, self.node('Relu', [up]))
            if skips:
                current = self.node('Concat', [skips.pop(), current], axis=1)
        name = layer('conv2d', 7 * self.stem + LAYERS)
        kernel, bias = self.weight(name + '/kernel', (3, 2, 0, 1)), self.weight(name + '/bias')
        # Four taps, two apart: seven wide, three before and three after.
        logits = self.node('Conv', [current, kernel, bias], dilations=[2, 2], pads=[3, 3, 3, 3])
        return self.node('Mul', [self.node('Sigmoid', [logits]), mixture])


def write_onnx(weights: dict[str, Any], stem: int, path: str) -> None:
    """Write the network of one stem; `weights` by Spleeter's names, float32."""
    import onnx
    from onnx import TensorProto, helper

    network = Network(weights, stem)
    turned = network.node('Transpose', ['x'], perm=[1, 0, 2, 3])
    output = network.node('Transpose', [network.estimate(turned)], perm=[1, 0, 2, 3])
    network.nodes[-1].output[0] = 'y'
    assert output != 'y'
    shape = [2, 'num_splits', 512, 1024]
    graph = helper.make_graph(
        network.nodes,
        'spleeter',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, shape)],
        network.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in META.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
