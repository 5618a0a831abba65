"""Scaled matrix products written in NumPy: codes are dequantized to f32 and multiplied."""

from collections.abc import Callable
from typing import Any

from lastbit.contract import Contract
from lastbit.kernel import Kernel

FILE = "plugins/lastbit/providers/numpy_scaled.py"
OPERANDS = Contract(scaled="operands", source=f"{FILE}: operands dequantized in f32, then numpy.matmul in f32")
SUMS = Contract(source=f"{FILE}: numpy.matmul of int32 arrays, then the scales in f32")
#: Magnitudes of e2m1 by code (OCP Microscaling Formats 1.0, section 5.3.3).
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def kernels() -> tuple[Kernel, ...]:
    """The scaled products; each reads its scales and packed codes itself.

    Raises ImportError when NumPy is not installed.
    """
    import numpy  # noqa: F401

    return (
        _kernel("mxfp8", "e4m3fn", "mxfp8_e4m3", OPERANDS, _groups(32, _plain)),
        _kernel("mxfp4", "e2m1fn", "mxfp4", OPERANDS, _groups(32, _nibbles), multiple={"k": 2}),
        _kernel("nvfp4", "e2m1fn", "nvfp4", OPERANDS, _groups(16, _nibbles), multiple={"k": 2}),
        _kernel("fp8-group128", "e4m3fn", "fp8_group128", OPERANDS, _groups(128, _plain)),
        _kernel("i8-rows", "i8", "i8_row", SUMS, _integer, features=frozenset({"bias"})),
    )


def _kernel(name: str, element: str, scaling: str, contract: Contract, run: Callable[..., Any], **more: Any) -> Kernel:
    return Kernel(
        name=f"numpy/scaled-{name}",
        op="scaled_gemm",
        run=run,
        formats={"a": element, "b": element, "out": "f32"},
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        scaling={"a": scaling, "b": scaling},
        **more,
    )


def _groups(group: int, values: Callable[[Any], Any]) -> Callable[..., Any]:
    """A `run` for scales of `group` numbers along k, of codes that `values` turns into f32."""

    def dequantized(codes: Any, scale: Any) -> Any:
        import numpy as np

        numbers = values(codes)
        scales = np.repeat(np.asarray(scale).astype(np.float32), group, axis=1)[:, : numbers.shape[1]]
        return numbers * scales

    def run(a: Any, b: Any, scale_a: Any, scale_b: Any, *, global_scale: Any = 1.0) -> Any:
        import numpy as np

        with np.errstate(all="ignore"):
            product = np.matmul(dequantized(a, scale_a), dequantized(b.T, scale_b.T).T)
            return (product * np.float32(global_scale)).astype(np.float32)

    return run


def _plain(codes: Any) -> Any:
    import numpy as np

    return np.asarray(codes).astype(np.float32)


def _nibbles(codes: Any) -> Any:
    """Bytes of two e2m1 codes, the lower nibble first."""
    import numpy as np

    both = np.stack((codes & 15, codes >> 4), axis=-1).reshape(codes.shape[0], 2 * codes.shape[1])
    signs = np.where(both & 8, -1, 1).astype(np.float32)
    return np.array(E2M1, np.float32)[both & 7] * signs


def _integer(a: Any, b: Any, scale_a: Any, scale_b: Any, *, bias: Any = None) -> Any:
    import numpy as np

    with np.errstate(all="ignore"):
        total = np.matmul(a.astype(np.int32), b.astype(np.int32)).astype(np.float32)
        scaled = total * scale_a * scale_b
        return scaled if bias is None else scaled + bias
