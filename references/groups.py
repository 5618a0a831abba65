"""Which numbers share a scale: reductions over them, and scales spread over them again."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lastbit.references.scaling import Scaling

Array = NDArray[np.float64]


def reduced(x: NDArray[Any], scaling: Scaling, function: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    """`function(numbers, axis=-1)` of the numbers of each scale, in the scales' shape; short groups end in zeros, and a
    tensor without numbers is a zero."""
    shape = scaling.scale_shape(x.shape)
    if not x.size:
        return np.zeros(shape, x.dtype)
    if scaling.granularity == "tensor":
        whole = x.reshape(1, -1) if x.size else np.zeros((1, 1))
        return np.asarray(function(whole, axis=-1)).reshape(())
    if scaling.granularity == "row":
        return function(x, axis=-1)[..., None]
    if scaling.granularity == "column":
        return function(np.swapaxes(_padded(x, -2, max(1, x.shape[-2])), -1, -2), axis=-1)[..., None, :]
    if scaling.granularity == "block":
        rows, columns = scaling.block
        whole = _padded(_padded(x, -2, shape[-2] * rows), -1, shape[-1] * columns)
        tiles = whole.reshape(*shape[:-2], shape[-2], rows, shape[-1], columns)
        return function(np.swapaxes(tiles, -3, -2).reshape(*shape, rows * columns), axis=-1)
    last = np.moveaxis(x, scaling.axis, -1)
    groups = -(-last.shape[-1] // scaling.group)
    whole = _padded(last, -1, groups * scaling.group)
    result = function(whole.reshape(*last.shape[:-1], groups, scaling.group), axis=-1)
    return np.moveaxis(result, -1, scaling.axis)


def spread(scales: NDArray[Any], scaling: Scaling, shape: tuple[int, ...]) -> NDArray[Any]:
    """The scale of every number of a tensor of `shape`."""
    if scaling.granularity == "group":
        axis = scaling.axis % len(shape)
        return np.take(np.repeat(scales, scaling.group, axis=axis), np.arange(shape[axis]), axis=axis)
    if scaling.granularity == "block":
        rows = np.repeat(scales, scaling.block[0], axis=-2)[..., : shape[-2], :]
        return np.repeat(rows, scaling.block[1], axis=-1)[..., : shape[-1]]
    return np.broadcast_to(scales, shape)


def _padded(x: NDArray[Any], axis: int, size: int) -> NDArray[Any]:
    """`x` with zeros up to `size` along `axis`."""
    missing = size - x.shape[axis]
    if not missing:
        return x
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, missing)
    return np.pad(x, padding)
