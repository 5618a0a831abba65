"""The kernels of JAX on the CPU, on NumPy arrays: lastbit has no border to JAX's own."""

from lastbit.kernel import Kernel
from lastbit.providers import jax_casts, jax_scaled


def kernels() -> tuple[Kernel, ...]:
    """The kernels of the installed JAX.

    Raises ImportError when it is not installed.
    """
    import jax  # noqa: F401

    return jax_casts.kernels() + jax_scaled.kernels()
