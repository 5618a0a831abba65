"""Casts by the proved rounding itself: every rounding mode, overflow policy and way with NaN, stochastic ones too."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lastbit import numpy_arrays
from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.formats import Format

SOURCE = "references/formats.py: Format.encode"
WIDE = ("f64", "f32", "f16", "bf16")
#: Random bits of the stochastic kernels.
RANDOM_BITS = 24


@dataclass(frozen=True, slots=True)
class SimulatedCast:
    """A cast to `out` under a contract; the operand's format is that of its type."""

    out: str
    contract: Contract
    #: Random numbers of a stochastic kernel.
    rng: np.random.Generator

    def __call__(self, x: Any) -> Any:
        """`x`, an array of a format of WIDE, as an array of `out` of the same shape."""
        target, rounding = Format.of(self.out), self.contract.output_rounding
        values = np.asarray(x).astype(np.float64)
        options: dict[str, Any] = {"rounding": rounding, "overflow": self.contract.overflow, "nan": self.contract.nan}
        if rounding == "stochastic":
            options |= {"random": self.rng.integers(0, 1 << RANDOM_BITS, values.shape), "random_bits": RANDOM_BITS}
        return target.encode(values, **options).view(numpy_arrays.dtype(self.out))


def kernels() -> tuple[Kernel, ...]:
    """One kernel for each policy, and one for each rounding, at formats where they differ.

    Raises ImportError when ml_dtypes is not installed.
    """
    import ml_dtypes  # noqa: F401

    return (
        _kernel("bf16", "bf16"),
        _kernel("f16", "f16"),
        _kernel("e4m3fn", "e4m3fn"),
        _kernel("e4m3fn-saturate", "e4m3fn", overflow="saturate"),
        _kernel("e5m2", "e5m2", tier="standard"),
        _kernel("e5m2-saturate", "e5m2", overflow="saturate"),
        _kernel("e5m2-propagate", "e5m2", overflow="propagate"),
        _kernel("e5m2-nan", "e5m2", overflow="nan", tier="standard"),
        _kernel("e4m3fnuz", "e4m3fnuz"),
        _kernel("e4m3fnuz-saturate", "e4m3fnuz", overflow="saturate", tier="standard"),
        _kernel("e5m2fnuz", "e5m2fnuz", tier="standard"),
        _kernel("e8m0fnu", "e8m0fnu", output_rounding="nearest-away"),
        _kernel("e8m0fnu-up", "e8m0fnu", output_rounding="up", overflow="saturate"),
        _kernel("e2m1fn", "e2m1fn", nan="max"),
        _kernel("e3m2fn", "e3m2fn", nan="zero"),
        _kernel("e2m3fn", "e2m3fn", nan="zero", tier="standard"),
        _kernel("p3109_8p3se", "p3109_8p3se", overflow="propagate"),
        _kernel("nf4", "nf4", nan="zero", tier="standard"),
        _kernel("i8", "i8", overflow="saturate", nan="zero"),
        _kernel("i8-truncate", "i8", overflow="saturate", nan="zero", output_rounding="toward-zero"),
        _kernel("i4", "i4", overflow="saturate", nan="zero", tier="standard"),
        *(
            _kernel(f"bf16-{rounding}", "bf16", output_rounding=rounding, tier="standard")
            for rounding in ("nearest-away", "toward-zero", "down", "up", "to-odd")
        ),
        _kernel("bf16-stochastic", "bf16", output_rounding="stochastic", deterministic=False),
        _kernel("e4m3fn-stochastic", "e4m3fn", output_rounding="stochastic", deterministic=False, overflow="saturate"),
        _kernel("e2m1fn-stochastic", "e2m1fn", output_rounding="stochastic", deterministic=False, nan="zero"),
    )


def _kernel(name: str, out: str, *, tier: str = "smoke", **promises: Any) -> Kernel:
    contract = Contract(source=SOURCE, **promises)
    return Kernel(
        name=f"simulated/cast-{name}",
        op="cast",
        run=SimulatedCast(out, contract, np.random.default_rng(20)),
        formats=tuple({"x": fmt, "out": out} for fmt in WIDE if fmt != out),
        contract=contract,
        framework="numpy",
        devices=("cpu",),
        tier=tier,
    )
