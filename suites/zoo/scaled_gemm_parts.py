"""What the right and the wrong scaled GEMMs of the zoo are made of, on NumPy arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from lastbit.contract import Contract
from lastbit.kernel import Kernel
from lastbit.references.formats import Format
from lastbit.references.groups import spread
from lastbit.references.packing import unpack
from lastbit.references.scaling import Scaling
from lastbit.suites.zoo import specimen
from lastbit.suites.zoo.specimen import Faulty, Variant, story_of

Array = Any


def f32(x: Array) -> Array:
    """The values as f32."""
    return np.asarray(x).astype(np.float32)


@dataclass(frozen=True)
class Scheme:
    """Formats, scalings and output type of a kernel."""

    name: str
    a: str
    b: str
    out: str
    scaling_a: str | Scaling | None
    scaling_b: str | Scaling | None
    bias: bool = False

    @property
    def formats(self) -> dict[str, str]:
        return {"a": self.a, "b": self.b, "out": self.out}

    @property
    def scaling(self) -> dict[str, Any]:
        return {"a": self.scaling_a, "b": self.scaling_b}


FP8_TENSOR = Scheme("fp8_tensor", "e4m3fn", "e4m3fn", "bf16", "fp8_tensor", "fp8_tensor", bias=True)
FP8_ROW = Scheme("fp8_row", "e4m3fn", "e4m3fn", "f32", "fp8_row", "fp8_row", bias=True)
FP8_BLOCK = Scheme("fp8_block", "e4m3fn", "e4m3fn", "f32", "fp8_group128", "fp8_block128")
MXFP8 = Scheme("mxfp8", "e4m3fn", "e4m3fn", "f32", "mxfp8_e4m3", "mxfp8_e4m3")
MXFP4 = Scheme("mxfp4", "e2m1fn", "e2m1fn", "bf16", "mxfp4", "mxfp4")
NVFP4 = Scheme("nvfp4", "e2m1fn", "e2m1fn", "f32", "nvfp4", "nvfp4")
I8_ROW = Scheme("i8_row", "i8", "i8", "f32", "i8_row", "i8_row", bias=True)
AFFINE = Scheme("affine", "u8", "i8", "f32", "u8_affine_onnx", "i8_affine")
U8_I8 = Scheme("u8_i8", "u8", "i8", "f32", "u8_affine_onnx", "i8_row")
WEIGHT_ONLY = Scheme("weight_only", "f32", "u4", "f32", None, "u4_group32")
SCHEMES = (FP8_TENSOR, FP8_ROW, FP8_BLOCK, MXFP8, MXFP4, NVFP4, I8_ROW, AFFINE, U8_I8, WEIGHT_ONLY)


@dataclass
class Side:
    """One operand, decoded, with the summed dimension last."""

    codes: Array
    scale: Array
    scaling: Scaling | None


def decoded(codes: Array, element: str, packing: str, k: int) -> Array:
    """f32 values of codes (rows, k)."""
    raw = np.ascontiguousarray(codes)
    if raw.dtype.kind == "V" or raw.dtype.name.startswith("float8"):
        return raw.astype(np.float32)
    if element in ("e2m1fn", "u4", "i4", "e3m2fn", "e2m3fn"):
        return Format.of(element).decode(unpack(raw, packing, k)).astype(np.float32)
    return raw.astype(np.float32)


Step = Callable[..., Array]


@dataclass
class Sum:
    """A scaled product with every part of it replaceable: what a fault changes is one field."""

    scheme: Scheme
    #: k at a time: sums over it are scaled and added; 0: as long as the scales allow.
    chunk: int = 0
    dequantize_first: bool = False
    total: Any = np.float32
    order: int = 1
    rounding: Callable[[Array], Array] | None = None

    def __call__(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> Array:
        sides, k = self.sides(a, b, scale_a, scale_b, **extra)
        return self.finish(self.product(sides, k), **extra)

    def sides(self, a: Array, b: Array, scale_a: Array, scale_b: Array, **extra: Array) -> tuple[list[Side], int]:
        scheme = self.scheme
        chosen = [None if s is None else Scaling.of(s) for s in (scheme.scaling_a, scheme.scaling_b)]
        k = self.length(a, b, chosen, scale_a, scale_b)
        found = []
        for codes, element, scaling, scale, zero in (
            (a, scheme.a, chosen[0], scale_a, extra.get("zero_a")),
            (b.T, scheme.b, chosen[1], None if scale_b is None else np.asarray(scale_b).T, extra.get("zero_b")),
        ):
            packing = "none" if scaling is None else scaling.packing
            values = decoded(codes, element, packing, k)
            if zero is not None and scaling is not None:
                turned = zero.T if codes is not a else zero
                values = values - spread(f32(turned), scaling, values.shape)
            full = np.ones(values.shape, np.float32)
            if scaling is not None and scale is not None:
                full = spread(f32(scale), scaling, values.shape)
            found.append(Side(values, full, scaling))
        return found, k

    @staticmethod
    def length(a: Array, b: Array, chosen: list[Scaling | None], scale_a: Array, scale_b: Array) -> int:
        """k: that of an unpacked operand, else twice the bytes."""
        for array, axis, scaling in ((a, 1, chosen[0]), (b, 0, chosen[1])):
            if scaling is None or scaling.packing == "none":
                return int(array.shape[axis])
        return 2 * int(a.shape[1])

    def run(self) -> int:
        if self.chunk:
            return self.chunk
        runs = [
            {"group": s.group, "block": s.block[1]}.get(s.granularity, 0)
            for s in (Scaling.of(x) for x in (self.scheme.scaling_a, self.scheme.scaling_b) if x is not None)
        ]
        return min((r for r in runs if r), default=1 << 30)

    def product(self, sides: list[Side], k: int) -> Array:
        x, y = sides
        if self.dequantize_first:
            left, right = (one.codes * one.scale for one in (x, y))
            if self.rounding is not None:
                left, right = self.rounding(left), self.rounding(right)
            return self.accumulate(left, right)
        total = np.zeros((x.codes.shape[0], y.codes.shape[0]), np.float32)
        starts = range(0, max(k, 1), self.run())
        for start in list(starts)[:: self.order]:
            part = slice(start, min(start + self.run(), k))
            partial = self.accumulate(x.codes[:, part], y.codes[:, part])
            with np.errstate(all="ignore"):
                scale = x.scale[:, part.start, None] * y.scale[None, :, part.start]
                total = f32(total + f32(partial) * scale)
        return total

    def accumulate(self, left: Array, right: Array) -> Array:
        """left (m, k) times right (n, k) transposed, in i64 for integers, else f32 in order."""
        integers = self.scheme.a in ("i8", "u8") and self.scheme.b in ("i8", "u8") and not self.dequantize_first
        if integers:
            return left.astype(np.int64) @ right.astype(np.int64).T
        total = np.zeros((left.shape[0], right.shape[0]), self.total)
        with np.errstate(all="ignore"):
            for i in range(left.shape[1])[:: self.order]:
                total = (total + left[:, i, None] * right[None, :, i]).astype(self.total)
        return total

    def finish(self, total: Array, **extra: Array) -> Array:
        with np.errstate(all="ignore"):
            if "global_scale" in extra:
                total = f32(total) * f32(extra["global_scale"])
            if "bias" in extra:
                total = f32(total) + f32(extra["bias"])
            return rounded(f32(total), self.scheme.out)


def rounded(total: Array, out: str) -> Array:
    """The sum rounded to the output type."""
    types = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
    with np.errstate(over="ignore"):
        return total.astype(types[out])


def bf16(x: Array) -> Array:
    """Rounded to bf16."""
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


PLAIN = Contract()
INVARIANT = Contract(batch_invariant=True)


def kernel(name: str, run: Callable[..., Any], scheme: Scheme, contract: Contract = PLAIN) -> Kernel:
    """A scaled GEMM of the zoo."""
    return specimen.kernel(
        name,
        "scaled_gemm",
        run,
        scheme.formats,
        contract,
        scaling=scheme.scaling,
        features=frozenset({"bias"} if scheme.bias else ()),
        multiple={"k": 2} if scheme in (MXFP4, NVFP4) else {},
        limit=1_200_000 if scheme is FP8_BLOCK else 180_000,
    )


def wrong(
    fault: str,
    make: Callable[[Scheme], Callable[..., Array]],
    scheme: Scheme,
    *checks: str,
    contract: Contract = PLAIN,
    name: str = "",
    story: str = "",
) -> Faulty:
    """What `make` makes of the scheme as a faulty kernel; its name and story are those of `make` unless given."""
    known = f"scaled_gemm-{name or make.__name__.lower()}-{scheme.name}"
    return Faulty(
        known,
        lambda: kernel(known, make(scheme), scheme, contract),
        fault,
        story or story_of(make),
        frozenset(checks),
    )


def right(
    make: Callable[[Scheme], Sum], scheme: Scheme, *, name: str, story: str, contract: Contract = PLAIN
) -> Variant:
    """What `make` makes of the scheme as a kernel that keeps its contract."""
    known = f"scaled_gemm-{name}-{scheme.name}"
    return Variant(known, lambda: kernel(known, make(scheme), scheme, contract), story)
