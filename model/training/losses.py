"""The distances between estimated and true magnitudes that training makes small, on keras.ops.

Source: Spleeter's model (JOSS 2020): its losses are means over a batch of what stands here for every chunk, summed
over the stems.
"""

from __future__ import annotations

from ..backend import Tensor, keras

ops = keras.ops


def stem_losses(estimates: Tensor, targets: Tensor, loss_type: str, log_weight: float = 0.0) -> Tensor:
    """The loss of every chunk and stem.

    Args:
      estimates: one tensor per stem, (chunks, T, F, channels), magnitudes >= 0.
      targets: the same.
      loss_type: 'L1_mask', mean |estimate - target|; 'weighted_L1_mask', that times the mean of the target.
      log_weight: of mean (log(1 + estimate) - log(1 + target))^2, added.

    Returns:
      float32 (chunks, stems).

    >>> stem_losses([np.array([[[[1.0]]]])], [np.array([[[[3.0]]]])], 'weighted_L1_mask')
    [[6.0]]
    """
    losses = []
    for estimate, target in zip(estimates, targets, strict=True):
        estimate = ops.cast(estimate, 'float32')
        loss = ops.mean(ops.abs(estimate - target), axis=(1, 2, 3))
        if loss_type == 'weighted_L1_mask':
            loss = loss * ops.mean(target, axis=(1, 2, 3))
        if log_weight > 0:
            loss = loss + log_weight * ops.mean(ops.square(ops.log1p(estimate) - ops.log1p(target)), axis=(1, 2, 3))
        losses.append(loss)
    return ops.stack(losses, axis=1)
