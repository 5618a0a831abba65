"""The contract: what a kernel promises, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lastbit.errors import KernelError
from lastbit.input_rounding import INPUT_ROUNDINGS

if TYPE_CHECKING:
    from lastbit.references.accumulators import Accumulator


_SUMS = ("f64", "f32", "f16", "bf16", "i32", "exact")
#: Rules and arithmetic of references.scaling, and the orders of references.dequantize.
_POWERS = ("floor", "rceil", "ceil", "even")
_RULES = (*_POWERS, "amax_over_max", "four_over_six", "signed_amax", "affine_min_max", "given")
_ARITHMETICS = ("exact", "divide", "reciprocal", "ratio", "fused")
_ORDERS = ("once", "scales_first", "element_first", "fused_zero")
#: The values of the fields that have a closed choice.
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "input_rounding": (None, *INPUT_ROUNDINGS),
    "output_rounding": ("nearest-even", "nearest-away", "toward-zero", "down", "up", "to-odd", "stochastic"),
    "overflow": (None, "saturate", "inf", "nan", "propagate", "wrap", "any"),
    "nan": (None, "zero", "max"),
    "zero": (None, "smallest", "nan"),
    "subnormals": ("keep", "flush"),
    "masked_row": ("zero", "nan"),
    "masked_keys": ("ignored", "computed"),
    "causal_alignment": ("top-left", "bottom-right"),
    "scale_rule": (None, *_RULES),
    "scale_arithmetic": (None, *_ARITHMETICS, *_ORDERS),
    "scaled": (None, "sums", "operands", "products"),
}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a kernel promises; the same bytes are right under one contract and a bug under another.

    A field left at None takes the op's default, as `resolved` fills it in.
    """

    #: Accumulator of sums of products: "f64", "f32", "f16", "bf16", "i32", "exact", or an Accumulator.
    #: GEMM default: i32 for integer operands, f64 for f64 operands, the matrix engine's on a GPU whose engine is known
    #: and reads the operands, else f32.
    accumulator: "str | Accumulator | None" = None
    #: Rounding of the operands before they are multiplied: None, "tf32", "f32", "bf16", "f16", "bf16x2", "bf16x3",
    #: "bf16x6".
    input_rounding: str | None = None
    #: "nearest-even", "nearest-away", "toward-zero", "down", "up", "stochastic".
    output_rounding: str = "nearest-even"
    #: What a result beyond the output format becomes: "saturate", "inf", "nan"; None: the format's own (inf, else nan,
    #: else saturate). "propagate" saturates numbers and keeps infinities, or makes them NaN. Of a cast also "wrap"
    #: (modulo 2^bits, to integers) and "any" (nothing is promised, of infinities either).
    overflow: str | None = None
    #: What NaN becomes in an output format without it: "zero" (of either sign), "max"; None: nothing is promised.
    nan: str | None = None
    #: What zero becomes in an output format without it (e8m0fnu): "smallest" or "nan"; None: the smallest.
    zero: str | None = None
    #: Subnormal operands and results: "keep" or "flush" (to zero, either may happen).
    subnormals: str = "keep"
    #: Format of the probabilities P in attention, and of the gradients dS that are multiplied with Q and K; None: f32.
    probabilities: str | None = None
    #: Format that attention's logits are stored in after each operation (eager attention: that of q); None: f32.
    scores: str | None = None
    #: Format that a query head's part of the gradients of K and V is rounded to before those of a group are added;
    #: None: f32.
    head_gradients: str | None = None
    #: Largest error of exp and log, in ulp of the accumulator's format; exp(0) is 1.
    exp_ulp: float = 2.0
    #: Result of a fully masked row: "zero" or "nan".
    masked_row: str = "zero"
    #: Keys that a mask excludes: "ignored", or "computed" with a weight of zero, so that their NaN may come through.
    masked_keys: str = "ignored"
    #: "top-left" or "bottom-right".
    causal_alignment: str = "bottom-right"
    #: How scales are got, in place of the scaling's rule: one of references.scaling.RULES.
    scale_rule: str | None = None
    #: In place of the scaling's arithmetic: quantize "exact", "divide", "reciprocal" or "ratio" (kv_append the middle
    #: two); dequantize "once" (the default: one rounding), "scales_first", "element_first" or "fused_zero".
    scale_arithmetic: str | None = None
    #: What a scaled GEMM multiplies by its scales: "sums" (of codes, wherever a scale changes; these are added in f32),
    #: "operands" (codes become numbers of input_rounding, f32 if that is None, before they are multiplied), "products"
    #: (a matrix engine's, before it aligns them), or None: any of these that its accumulator knows.
    scaled: str | None = None
    #: The same call gives the same bits.
    deterministic: bool = True
    #: The same call gives the same bits of gradients too, which atomic additions do not.
    deterministic_gradients: bool = True
    #: A row's bits do not depend on the other rows of the batch.
    batch_invariant: bool = False
    #: Where the promise is published (documentation, source, test tolerance); "" if it is lastbit's default.
    source: str = ""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                shown = ", ".join(map(repr, allowed))
                raise KernelError(f"contract: {name} is {value!r}, expected one of {shown}")
        if isinstance(self.accumulator, str) and self.accumulator not in _SUMS:
            raise KernelError(
                f"contract: accumulator is {self.accumulator!r}, expected one of {', '.join(_SUMS)}, or an Accumulator"
            )
        if not self.exp_ulp > 0:
            raise KernelError(f"contract: exp_ulp is {self.exp_ulp!r}, expected a number of ulp above 0")

    @staticmethod
    def from_datasheet(
        datasheet: Any, kernel: str = "", formats: Mapping[str, str] | None = None, **changes: Any
    ) -> "Contract":
        """The contract whose accumulator is the model that a datasheet confirmed: a budget as tight as the device.

        `datasheet`: a file of `lastbit datasheet --json`, its content, or one sheet of it; `kernel` and `formats`
        choose one of several. `changes` are fields of the contract. Where the order of additions is not one of all
        shapes that were looked at, it becomes "any", which covers every order.

        Raises KernelError where there is no such sheet or its model is not confirmed.
        """
        from lastbit import datasheet_contract

        sheet = datasheet_contract.chosen(datasheet, kernel, formats)
        accumulator = datasheet_contract.accumulator(sheet)
        given = {
            "accumulator": accumulator,
            "subnormals": datasheet_contract.subnormals(sheet),
            "output_rounding": sheet["model"]["output_rounding"],
            "source": f"lastbit datasheet of {sheet['kernel']}, {accumulator.source}",
        }
        return Contract(**given | changes)

    def text(self) -> str:
        """The contract in one line, defaults left out."""
        default = Contract()
        parts = []
        for name in self.__slots__:
            value = getattr(self, name)
            if name != "source" and value != getattr(default, name):
                parts.append(f"{name}={getattr(value, 'name', value)}")
        return ", ".join(parts) or "defaults"


def resolved(contract: Contract, formats: dict[str, str], engine: str = "") -> Contract:
    """`contract` with the op's default accumulator for these operand formats filled in.

    `engine` names the matrix engine of the device (a device of references.accumulators), "" if there is none: operands
    that it reads are summed by its blocks in any order unless the contract says otherwise, for no GPU library promises
    more than its hardware does.
    """
    if contract.accumulator is not None:
        return contract
    # A cache is dequantized before it is multiplied: what q is multiplied as, so is it.
    operands = {
        fmt for name, fmt in formats.items() if name not in ("out", "bias", "k_cache", "v_cache", "block_table")
    }
    accumulator: Any = "f32"
    if operands <= {"i8", "u8", "i4", "u4", "i32"}:
        accumulator = "i32"
    elif "f64" in operands:
        accumulator = "f64"
    elif engine:
        accumulator = _summed_by(engine, operands) or accumulator
    return replace(contract, accumulator=accumulator)


def _summed_by(engine: str, operands: set[str]) -> "Accumulator | None":
    from lastbit.references.accumulator_table import ENGINES
    from lastbit.references.accumulators import Accumulator

    read = sorted(fmt for fmt in operands - {"tf32"} if (engine, fmt) in ENGINES)
    return replace(Accumulator.of(engine, read[0]), order="any") if len(read) == len(operands) else None
