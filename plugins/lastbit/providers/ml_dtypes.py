"""The kernels of ml_dtypes: number formats that NumPy lacks, cast by astype."""

from lastbit.kernel import Kernel
from lastbit.providers import ml_dtypes_casts


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed ml_dtypes.

    Raises ImportError when it is not installed.
    """
    return ml_dtypes_casts.kernels()
