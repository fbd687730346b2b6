"""The one place that knows which array library runs under Keras: TensorFlow by default, or JAX.

Import `keras` from here, so that the default is set before Keras reads it. Networks and signal processing are written
against keras.ops; only compiling a function and sizing thread pools differ between the two.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .collecting import without_collecting

logger = logging.getLogger(__name__)

os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')


@contextlib.contextmanager
def _native_messages_logged() -> Iterator[None]:
    """What libraries write straight to file descriptor 2 goes to our log instead, at level INFO.

    TensorFlow greets with half a page about instruction sets and missing GPUs before any of its log levels apply.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught.read().decode(errors='replace').splitlines():
                logger.info('%s', line)


# Keras imports these where they are installed, for nearly a second, and we need neither.
_LEFT_OUT = ('sklearn', 'matplotlib')


@contextlib.contextmanager
def _left_out(packages: Sequence[str]) -> Iterator[None]:
    """While this lasts, packages that are not imported yet cannot be, in any thread. Keras then does without for good:
    whoever wants its wrappers for scikit-learn in the same process imports keras first.
    """
    hidden = [package for package in packages if package not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for package in hidden:
            del modules[package]


with _native_messages_logged(), without_collecting(), _left_out(_LEFT_OUT):
    import keras  # after the environment is set, on purpose

    if keras.backend.backend() == 'tensorflow':
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for GPUs, and says what it thinks of it

Tensor = Any  # a tensor of whichever library runs


def configure_threads(streams: int) -> None:
    """Size TensorFlow's thread pools for `streams` Python threads that each separate a chunk at a time.

    One thread inside every call and one call per core measured fastest, and it keeps the order of additions inside a
    convolution the same for any number of workers. Must come before TensorFlow's first operation in the process; later
    calls that would change something are reported in the log, because TensorFlow can no longer follow them.
    """
    if keras.backend.backend() != 'tensorflow':
        return
    import tensorflow as tf

    wanted = (1, streams)
    threading = tf.config.threading
    if (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()) == wanted:
        return
    try:
        threading.set_intra_op_parallelism_threads(1)
        threading.set_inter_op_parallelism_threads(streams)
    except RuntimeError:
        logger.warning(
            'TensorFlow runs already: its thread pools stay as they are (wanted: 1 inside, %d across)', streams
        )


def convolve(inputs: Tensor, kernel: Tensor, stride: int, dilation: int) -> Tensor:
    """A convolution, padding "same": (patches, rows, columns, in) by (rows, columns, in, out).

    Keras lets TensorFlow cut dilated ones into several that are not, which copies everything twice and keeps a bias
    apart; oneDNN and cuDNN know dilation.
    """
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        return tf.nn.conv2d(inputs, kernel, stride, 'SAME', dilations=dilation)
    return keras.ops.conv(inputs, kernel, stride, 'same', dilation_rate=dilation)


def add_bias(inputs: Tensor, bias: Tensor) -> Tensor:
    """(..., channels) + (channels,), by the operation that TensorFlow joins to the convolution before it."""
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        return tf.nn.bias_add(inputs, bias)
    return inputs + bias


def find_gpu() -> str | None:
    """The name of the first GPU that the array library uses; None: there is none."""
    if keras.backend.backend() == 'jax':
        import jax

        return next((str(device) for device in jax.devices() if device.platform == 'gpu'), None)
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        return next((device.name for device in tf.config.list_physical_devices('GPU')), None)
    return None


def forbid_tf32() -> None:
    """Products of float32 with all their bits on GPUs too, for the process.

    Libraries let tensor cores round the inputs to 11 bits (TF32) unless told otherwise. Stems have 16 bits and more,
    and no run waits for the networks of a GPU: cores that encode and compute features are slower.
    """
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.backend.backend() == 'jax':
        import jax

        jax.config.update('jax_default_matmul_precision', 'float32')


def compile_function(
    model: keras.Model | None,
    function: Callable[..., Any],
    xla: bool | None = None,
    shapes: Sequence[tuple[int, ...]] = (),
) -> Callable[..., Any]:
    """Compile `function(network, *inputs)`, which calls `network` (the model, in inference mode) on tensors.

    Args:
      model: None: the function calls no network, and gets None.
      xla: whether TensorFlow compiles by XLA (JAX always does); None: where there is a GPU. On CPUs it makes the
        networks half as fast (measured).
      shapes: float32 inputs of these shapes are expected: TensorFlow traces the function for them at once.

    Returns:
      A function from float32 or float64 arrays to an array, or to a tuple of arrays where `function` returns one; it is
      compiled once for all shapes of its inputs, and may be called from several threads at once. Weights stay variables
      (as constants of the graph they would cost gigabytes).
    """
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf
        from tensorflow.python.eager import context

        # Nothing here needs autograph, which parses source code, and not safely so in several threads.
        network = None if model is None else functools.partial(model, training=False)
        has_gpu = find_gpu() is not None
        # A partial function: TensorFlow warns of frequent compiling by the code object, which others would share.
        use_xla = has_gpu if xla is None else xla
        graph = tf.function(functools.partial(function, network), autograph=False, jit_compile=use_xla or None)
        if shapes:
            graph.get_concrete_function(*(tf.TensorSpec(shape, tf.float32) for shape in shapes))
        # On a CPU all of a call stays in its own thread. TensorFlow's usual executor now and then hands an operation to
        # another thread, where oneDNN may add in another order (measured: one call in 200, 1e-7 of the values).
        executor = '' if has_gpu else 'SINGLE_THREADED_EXECUTOR'

        def call(*inputs: np.ndarray) -> Any:
            with context.function_executor_type(executor):
                found = graph(*map(tf.constant, inputs))
                return tf.nest.map_structure(lambda x: x.numpy(), found)

        return call
    if keras.backend.backend() == 'jax':
        import jax

        jitted = _jitted(model, function)
        return lambda *inputs: jax.tree.map(np.asarray, jitted(*inputs))
    raise RuntimeError(
        f'Keras backend {keras.backend.backend()!r} is not supported: set KERAS_BACKEND to tensorflow or jax'
    )


def _jitted(model: keras.Model | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """`compile_function` for JAX; results stay where they were computed."""
    import jax

    variables = ([], []) if model is None else (model.trainable_variables, model.non_trainable_variables)
    weights = tuple([variable.value for variable in kind] for kind in variables)

    def pure(state: Any, *inputs: Any) -> Any:
        return function(model and (lambda x: model.stateless_call(*state, x, training=False)[0]), *inputs)

    jitted = jax.jit(pure)

    def call(*inputs: np.ndarray) -> Any:
        with _double_precision(jax):
            return jitted(weights, *inputs)

    return call


def compile_staged(
    model: keras.Model, function: Callable[[Any, Tensor], tuple[Any, Any]]
) -> Callable[[Sequence[np.ndarray]], tuple[Any, Any]]:
    """Compile a function of a batch for a device that the batch must be brought to, and results fetched from.

    TensorFlow decides by itself what is allocated in pinned memory, from which a GPU copies fast and beside its work:
    inside a graph the tensors between operations on the CPU and on the GPU, and nothing that was made of arrays outside
    (documentation of `GPUOptions.force_gpu_compatible`, the option itself being out of reach in TensorFlow 2;
    `InferAllocAttr` in its executor). Nor does `tf.data.experimental.prefetch_to_device` ask for it: it copies from
    where its pipeline has put the data (TensorFlow's issue 43905). So the batch is put together inside the graph on the
    CPU, in a copy that is needed anyhow, and results are moved to the CPU inside it. On GPUs this was not measured. JAX
    stages transfers by itself.

    Args:
      function: from the network and the batch to what is fetched, and what stays on the device until it is asked for
        by `numpy.asarray`; both nested tuples.

    Returns:
      A function from the rows of a batch, arrays of the same shape, to both; fetched arrays may be read-only. It may be
      called from several threads at once: then transfers of one call and computing of another can overlap on GPUs.
    """
    if keras.backend.backend() == 'jax':
        import jax

        jitted = _jitted(model, function)

        def call_jax(rows: Sequence[np.ndarray]) -> tuple[Any, Any]:
            fetched, kept = jitted(np.stack(rows))
            return jax.tree.map(np.asarray, fetched), kept

        return call_jax
    import tensorflow as tf

    network = functools.partial(model, training=False)
    compiled = tf.function(
        functools.partial(function, network), autograph=False, jit_compile=find_gpu() is not None or None
    )

    def staged(rows: list[Tensor]) -> tuple[Any, Any]:
        with tf.device('CPU'):
            batch = tf.stack(rows)
        fetched, kept = compiled(batch)
        with tf.device('CPU'):
            return tf.nest.map_structure(tf.identity, fetched), kept

    graph = tf.function(staged, autograph=False)

    def call(rows: Sequence[np.ndarray]) -> tuple[Any, Any]:
        with tf.device('CPU'):
            fetched, kept = graph([tf.constant(row) for row in rows])
        return tf.nest.map_structure(lambda x: x.numpy(), fetched), kept

    return call


def _double_precision(jax: Any) -> Any:
    """A context in which JAX knows float64, which it leaves out by default."""
    return (jax if hasattr(jax, 'enable_x64') else jax.experimental).enable_x64(True)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, made of operations on single elements and sums, as one stage of a compiled graph.

    Each operation of its own would write and read all of its values in memory; XLA makes one loop of them. It computes
    what several results need once for each of them, so keep stages small: what is expensive and needed often is a
    result of its own (measured: 67 ms for the Wiener filter of a chunk as one stage, 29 ms as five).
    """
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    import jax

    return lambda *inputs: jax.lax.optimization_barrier(function(*inputs))
