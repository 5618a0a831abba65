"""Scaling, how a tensor becomes codes and scales: what is scaled together, by what, and in which arithmetic."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from lastbit.references.formats import Format

__all__ = ["Scaling", "ScalingError", "with_contract"]

GRANULARITIES = ("tensor", "row", "column", "group", "block")
#: How a scale is got from the numbers that it scales; docs/quantize.md says each in a formula.
RULES = (
    "floor",
    "ceil",
    "rceil",
    "even",
    "amax_over_max",
    "four_over_six",
    "signed_amax",
    "affine_min_max",
    "given",
)
ARITHMETICS = ("exact", "divide", "reciprocal", "ratio", "fused", None)
PACKINGS = ("none", "nibbles_low_first", "nibbles_high_first", "nibbles_halves", "six_bit_little_endian")
LAYOUTS = ("row-major", "swizzled-128x4")
#: Rules that give a power of two from the exponent of amax.
POWERS = ("floor", "ceil", "rceil", "even")


class ScalingError(ValueError):
    """A scaling's name, a field or an operand cannot be used as it stands."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How numbers x become codes q with x ~ (value(q) - zero_point) / steps * scale * global_scale.

    Get one with `Scaling.of(name)`, and change it with `dataclasses.replace`.
    """

    name: str
    #: Format of the codes.
    element: str
    #: Where it is written down: a section of a specification, or library, version and file.
    source: str
    #: What has one scale: the "tensor", a "row" (all but the last axis), a "column" (all but the last but one), a
    #: "group" of `group` numbers along `axis`, or a "block" of `block` rows and columns. The last group may be short.
    granularity: str = "tensor"
    group: int = 0
    block: tuple[int, int] = (0, 0)
    axis: int = -1
    #: Format that scales are stored in; None: there is no scale.
    scale_format: str | None = "f32"
    #: Whether no scale but NaN has a sign, those of the tensor included: the source stores them in a format without one
    #: (ue4m3), so that a kernel may read the codes of a signed format without their sign. Such scalings are tried with
    #: positive scales only; "signed_amax" makes negative ones, and is refused with it.
    unsigned_scales: bool = False
    #: Format of a scale of the whole tensor on top, or None.
    global_scale: str | None = None
    #: How a scale is got: one of RULES.
    rule: str = "amax_over_max"
    #: What amax (or max - min) is divided by; power-of-two rules take the element's largest number from here.
    largest: float = 1.0
    #: global_scale = amax of the tensor / global_largest.
    global_largest: float = 1.0
    #: Rounding of a scale to its format.
    scale_rounding: str = "nearest-even"
    #: The quotient x * steps / scale before it is rounded to the element: "exact" (the real number), "divide" (one
    #: division in `compute`; with a global scale by the rounded product of both scales), "reciprocal" (1 / scale,
    #: that times steps, x times that; with a global scale 1 / global, that / scale, x times that; each rounded),
    #: "ratio" (largest / amax, x times that, each rounded), "fused" (as "reciprocal", but x times that is not rounded
    #: before the zero point is added: a fused multiply-add, with `zero_before_rounding`), or None: undeclared.
    arithmetic: str | None = "divide"
    #: Format of that arithmetic, and of the one that gives scales; None: that of x.
    compute: str | None = "f32"
    scale_compute: str | None = "f32"
    #: Codes are of x over the scale before it was rounded to `scale_format`.
    unrounded_divisor: bool = False
    #: Rounding to the element; "half-up" is floor(q + 1/2), the sum rounded in `compute`; "thresholds" (of tables)
    #: takes the midpoints rounded to f32, and a number at one the level below. "nearest-zero" sends ties towards zero.
    rounding: str = "nearest-even"
    #: As `Format.round` has it, or "undefined": saturated, and where the quotient is infinite, no code is promised.
    overflow: str = "saturate"
    #: Whether codes of -0 are in use, if the element has them.
    negative_zero: bool = True
    #: Smallest and largest element; None: the format's.
    lowest: float | None = None
    highest: float | None = None
    #: Elements that make up one scale: 64 in MXINT8, whose element 1 is worth 2^-6 of the scale.
    steps: int = 1
    #: Format of the zero point, or None; `fixed_zero` is one that is the same for all.
    zero_point: str | None = None
    fixed_zero: float = 0.0
    #: The zero point is added to the quotient, rounded in `compute`, before the sum becomes an integer: an odd one
    #: turns ties the other way.
    zero_before_rounding: bool = False
    #: Smallest scale that is used, before rounding to `scale_format`; None: none. "input": the smallest normal of x.
    smallest_scale: float | str | None = None
    #: Smallest amax that is used, or None.
    smallest_amax: float | None = None
    #: Smallest scale that x is divided by, whatever is stored, or None.
    smallest_divisor: float | None = None
    #: Codes of a group whose divisor is zero are those of 0, instead of x / 0.
    zero_codes: bool = False
    #: Scale of a group that is all zero, or whose scale becomes zero; None: what the rule gives.
    zero_scale: float | None = None
    #: Scale of a group with an infinity, in power-of-two rules: "exponent" (infinity is 2^128), "largest" (of the scale
    #: format), "nan", or None: undeclared. Other rules divide infinity.
    infinite: str | None = None
    #: What NaN becomes in an element format without it: "zero", "max", or None: undeclared.
    nan: str | None = None
    #: How codes are packed into bytes, and how the matrix of scales is laid out.
    packing: str = "none"
    scale_layout: str = "row-major"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ScalingError(
                    f"scaling {self.name}: {name} is {value!r}, expected one of {', '.join(map(repr, allowed))}"
                )
        for fmt in (
            self.element,
            self.scale_format,
            self.global_scale,
            self.compute,
            self.scale_compute,
            self.zero_point,
        ):
            if fmt is not None:
                Format.of(fmt)
        self._check_storage()
        if self.rule in POWERS and self.global_scale is not None:
            raise ScalingError(f"scaling {self.name}: {self.rule} makes no scale of the tensor, global_scale")
        if self.unsigned_scales and self.rule == "signed_amax":
            raise ScalingError(f"scaling {self.name}: signed_amax makes negative scales, which are no unsigned_scales")
        if self.steps != 1 and self.global_scale is not None:
            raise ScalingError(f"scaling {self.name}: {self.steps} steps and a global scale; expected one of both")
        if self.steps & (self.steps - 1) and self.arithmetic not in ("reciprocal", None):
            raise ScalingError(
                f"scaling {self.name}: {self.steps} steps with arithmetic {self.arithmetic!r}: only a reciprocal has "
                "steps that are no power of two"
            )
        if self.arithmetic == "fused" and not self.zero_before_rounding:
            raise ScalingError(f"scaling {self.name}: 'fused' adds the zero point; expected zero_before_rounding")
        if self.granularity == "group" and self.group < 1:
            raise ScalingError(f"scaling {self.name}: group is {self.group}, expected a size of at least 1")
        if self.granularity == "block" and min(self.block) < 1:
            raise ScalingError(f"scaling {self.name}: block is {self.block}, expected sizes of at least 1")

    def _check_storage(self) -> None:
        """Raise ScalingError for elements that are no codes of at most 8 bits, or do not fit their packing."""
        bits = Format.of(self.element).bits
        if bits > 8:
            raise ScalingError(f"scaling {self.name}: element is {self.element}, expected a format of at most 8 bits")
        width = {"none": bits, "six_bit_little_endian": 6}.get(self.packing, 4)
        if bits != width:
            raise ScalingError(
                f"scaling {self.name}: packing {self.packing!r} is of {width} bits, but {self.element} has {bits}"
            )

    @staticmethod
    def of(name: "str | Scaling") -> "Scaling":
        """The preset called `name`; a Scaling is returned unchanged.

        Raises ScalingError, with the names nearest to it, when there is none.
        """
        if isinstance(name, Scaling):
            return name
        from lastbit.references.scaling_presets import PRESETS

        if name not in PRESETS:
            near = get_close_matches(str(name).lower(), PRESETS, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise ScalingError(f"there is no scaling {name!r}; {hint}Scaling.names() has all {len(PRESETS)}")
        return PRESETS[name]

    @staticmethod
    def names() -> tuple[str, ...]:
        """The names of all presets."""
        from lastbit.references.scaling_presets import PRESETS

        return tuple(PRESETS)

    @property
    def low(self) -> float:
        """Smallest element in use."""
        return Format.of(self.element).lowest if self.lowest is None else self.lowest

    @property
    def high(self) -> float:
        """Largest element in use."""
        return Format.of(self.element).max if self.highest is None else self.highest

    @property
    def bits_per_value(self) -> float:
        """Bits that one number takes in a large matrix: its code, and its share of scale and zero point."""
        shared = sum(Format.of(name).bits for name in (self.scale_format, self.zero_point) if name is not None)
        sharing = {"group": self.group, "block": self.block[0] * self.block[1]}.get(self.granularity, 0)
        return Format.of(self.element).bits + (shared / sharing if sharing else 0.0)

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scales of a tensor of `shape`: as many axes, () for "tensor".

        Raises ScalingError when the shape has too few axes.
        """
        if self.granularity == "tensor":
            return ()
        if len(shape) < {"row": 1, "group": 1}.get(self.granularity, 2):
            raise ScalingError(f"scaling {self.name}: a tensor of shape {shape} has no {self.granularity} to scale")
        if self.granularity == "row":
            return (*shape[:-1], 1)
        if self.granularity == "column":
            return (*shape[:-2], 1, shape[-1])
        if self.granularity == "block":
            return (*shape[:-2], -(-shape[-2] // self.block[0]), -(-shape[-1] // self.block[1]))
        sizes = list(shape)
        sizes[self.axis] = -(-sizes[self.axis] // self.group)
        return tuple(sizes)


def with_contract(scaling: "str | Scaling", scale_rule: str | None, scale_arithmetic: str | None) -> Scaling:
    """The scaling with a contract's `scale_rule` and `scale_arithmetic`, where they are not None, for its own.

    Raises ScalingError for a rule of powers of two where the scales are stored in a format of other numbers, and for
    one of zero points where none are stored.
    """
    scaling, changed = Scaling.of(scaling), dict[str, Any]()
    stored = Format.of(scaling.scale_format or "f32")
    if scale_rule in POWERS and scaling.rule not in POWERS and stored.kind != "exponent":
        raise ScalingError(
            f"scale_rule {scale_rule!r} gives powers of two, but scaling {scaling.name} stores quotients in "
            f"{stored.name}; if that is meant, make it the rule of a Scaling of your own, by dataclasses.replace"
        )
    if scale_rule == "affine_min_max" and scaling.zero_point is None:
        raise ScalingError(f"scale_rule 'affine_min_max' makes zero points, but scaling {scaling.name} stores none")
    if scale_rule is not None:
        changed["rule"] = scale_rule
    if scale_arithmetic is not None:
        changed["arithmetic"] = scale_arithmetic
    return replace(scaling, **changed)


_CHOICES: dict[str, tuple[Any, ...]] = {
    "granularity": GRANULARITIES,
    "rule": RULES,
    "arithmetic": ARITHMETICS,
    "rounding": (
        "nearest-even",
        "nearest-away",
        "half-up",
        "thresholds",
        "nearest-zero",
        "toward-zero",
        "down",
        "up",
        "stochastic",
    ),
    "scale_rounding": ("nearest-even", "nearest-away", "up", "down", "toward-zero"),
    "infinite": ("exponent", "largest", "nan", None),
    "nan": ("zero", "max", None),
    "packing": PACKINGS,
    "scale_layout": LAYOUTS,
}
