"""Yardsticks: the plain kernel of each op that a kernel's time is a multiple of, measured in the same process."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from lastbit.kernel import Kernel, formats_text
from lastbit.scaled_operands import SCALED_OPS, product_scalings, scaling_of

#: Who is asked, by op, in this order: names or globs. Always the same op: the machine's speed is no one number, and the
#: ratio to a copy or to another op's kernel changes with everything that runs beside it.
YARDSTICKS: dict[str, tuple[str, ...]] = {
    "gemm": ("torch/matmul", "torch/_int_mm", "torch/mm*", "numpy/matmul", "numpy/dot*"),
    "scaled_gemm": ("torch/_scaled_mm*", "torch/scaled_mm*", "numpy/scaled-*"),
    "softmax": ("torch/softmax", "torch/softmax-f32", "numpy/softmax"),
    "log_softmax": ("torch/log_softmax", "numpy/log_softmax"),
    "logsumexp": ("torch/logsumexp", "numpy/logsumexp"),
    "attention": ("torch/sdpa", "torch/sdpa-*", "torch/flex", "torch/flex-*", "numpy/attention"),
    "paged_attention": ("torch/paged-gather", "numpy/paged-gather"),
    "kv_append": ("torch/kv-append", "torch/kv-append-inplace", "numpy/kv-append", "numpy/kv-append-inplace"),
    "quantize": ("torch/quantize-*", "numpy/quantize-*"),
    "dequantize": ("torch/dequantize-*", "numpy/dequantize-*"),
    "cast": ("torch/to-*", "numpy/astype-*", "ml_dtypes/astype-*"),
}
#: Globs of the kernels that YARDSTICKS names.
PROVIDERS = ("torch/*", "numpy/*", "ml_dtypes/*")


def yardstick(
    kernel: Kernel, formats: Mapping[str, str], known: Iterable[Kernel], device: str = "cpu"
) -> Kernel | None:
    """The first of `known` that YARDSTICKS names for the kernel's op and that does the same: formats, scaling, in place
    or not, on the device. It is never the kernel itself, nor one compiled when it is first called. None if there is
    none: the kernel's speed is then reported and not judged.
    """
    kind = device.partition(":")[0]
    able = [
        one
        for one in known
        if one.op == kernel.op and one.name != kernel.name and kind in one.devices and "compiled" not in one.name
    ]
    for glob in YARDSTICKS[kernel.op]:
        for one in sorted(able, key=lambda one: one.name):
            if fnmatchcase(one.name, glob) and _has(one, formats) and _way(one) == _way(kernel):
                return one
    return None


def _has(kernel: Kernel, formats: Mapping[str, str]) -> bool:
    return formats_text(formats) in map(formats_text, kernel.format_sets)


def _way(kernel: Kernel) -> tuple[object, ...]:
    """What makes two kernels of one op and formats do other work."""
    if kernel.op in SCALED_OPS:
        return (scaling_of(kernel),)
    if kernel.op == "scaled_gemm":
        return product_scalings(kernel)
    return ("inplace" in kernel.features,)
