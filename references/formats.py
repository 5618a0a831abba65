"""Format, a number format: what its codes are worth, and exact rounding of real numbers to it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lastbit.references import codes as _codes
from lastbit.references import format_rational, rounding, ulp
from lastbit.references.chunks import by_chunks
from lastbit.references.format_table import P3109, ROWS, FormatError, row

__all__ = ["Format", "FormatError"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Format:
    """A number format. Get one with `Format.of`; all values are exact float64, all codes unsigned integers.

    Options that several methods share:

    - `rounding`: "nearest-even" (default), "nearest-away", "toward-zero", "down", "up", "to-odd", "stochastic".
      Stochastic takes `random`, an integer array, and `random_bits` r: of each number the low r bits R are used, and
      the magnitude is rounded up when floor(fraction * 2^r) + R >= 2^r; exact values never change.
    - `overflow`, of what rounds beyond the largest finite value, and of infinities: "inf", "nan", "saturate" (P3109
      SatFinite), "propagate" (P3109 SatPropagate: as saturate, but infinities stay infinite, or NaN), or None, the
      format's own: inf if it has one, else NaN, else saturate. Toward-zero, and down and up on the far side, give the
      largest finite value instead of the format's own or inf (IEEE 754-2019 section 4.3.2).
    - `nan`, for formats without NaN: the value that NaN becomes, "zero" or "max"; by default NaN raises FormatError.
    """

    name: str
    #: "float", "integer", "exponent" (e8m0: a power of two, no zero) or "table" (nf4).
    kind: str
    #: Bits that carry information (tf32: 19, stored in 32).
    bits: int
    #: Significant bits, the hidden one included; the width, for integers.
    precision: int
    bias: int
    #: Exponent of the smallest normal and of the largest finite value; equal for integers.
    emin: int
    emax: int
    #: Largest and most negative finite value.
    max: float
    lowest: float
    signed: bool
    has_inf: bool
    has_nan: bool
    has_negative_zero: bool
    #: Magnitude code of the largest finite value and of infinity.
    max_code: int
    inf_code: int | None
    #: The code that encode gives for NaN.
    nan_code: int | None
    #: Values by code of a "table" format.
    levels: tuple[float, ...]
    #: numpy dtype of codes.
    code_dtype: Any

    @staticmethod
    def of(name: "str | Format") -> "Format":
        """The format called `name`; a Format is returned unchanged.

        Raises FormatError, listing the known names, when there is none.
        """
        return name if isinstance(name, Format) else _build(name)

    @staticmethod
    def names() -> tuple[str, ...]:
        """The names of all formats that are listed; `of` knows further P3109 ones."""
        return (*ROWS, *P3109)

    @property
    def u(self) -> float:
        """Unit roundoff 2^-precision: largest relative error of one rounding to nearest."""
        return 2.0**-self.precision

    @property
    def eta(self) -> float:
        """The smallest positive value; for integers 1."""
        if self.kind == "table":
            return min(level for level in self.levels if level > 0)
        return self.min_normal if self.kind == "exponent" else 2.0 ** (self.emin - self.precision + 1)

    @property
    def min_normal(self) -> float:
        """2^emin, from which on values have the full precision."""
        return 2.0**self.emin

    @property
    def threshold(self) -> float:
        """T = max + ulp(max)/2, where round to nearest overflows; at T itself by the tie rule. Infinite for f64."""
        return self.max + float(self.ulp(self.max)) / 2

    def decode(self, codes: ArrayLike, *, out: Floats | None = None) -> Floats:
        """The exact values of `codes`; NaN for NaN codes. Bits above the format's width must be 0.

        `out`, a float64 array of the same shape, receives them if given.

        Raises FormatError when a code has bits beyond the width.
        """
        return _codes.decode(self, np.asarray(codes), out)

    def encode(
        self,
        x: ArrayLike,
        lo: ArrayLike | None = None,
        *,
        rounding: str = "nearest-even",
        overflow: str | None = None,
        nan: str | None = None,
        random: ArrayLike | None = None,
        random_bits: int | None = None,
    ) -> NDArray[Any]:
        """The codes of `round(x, lo, ...)`; NaN becomes the format's canonical quiet NaN."""
        return self._chunked(x, lo, rounding, overflow, nan, random, random_bits, self.code_dtype, _codes.encode)

    def round(
        self,
        x: ArrayLike,
        lo: ArrayLike | None = None,
        *,
        rounding: str = "nearest-even",
        overflow: str | None = None,
        nan: str | None = None,
        random: ArrayLike | None = None,
        random_bits: int | None = None,
    ) -> Floats:
        """x + lo rounded once to this format, as float64 values of the shape of `x`.

        `lo`, of that shape, is the low part of an unevaluated sum, |lo| <= ulp(x)/2; it decides ties and directed
        modes. -0 becomes +0 in formats without it. e8m0, which has no zero, takes 2^-127 for all of [0, 2^-127];
        negative values overflow unsigned formats (after rounding), to NaN or, saturated, the lowest value.
        Ties to even go to the even code, where precision is 1.

        Raises FormatError for NaN in a format without it (see `nan`), options that the format lacks, stochastic without
        random bits, or with `lo` and random_bits > 52 - precision (the fraction is kept to 53 bits; f64: no limit).
        """
        return self._chunked(x, lo, rounding, overflow, nan, random, random_bits, np.float64, None)

    def round_rational(
        self, x: Fraction | int, *, rounding: str = "nearest-even", overflow: str | None = None
    ) -> float:
        """The rational `x` rounded to this format; slow, and independent of `round`. Not stochastic."""
        return format_rational.round_rational(self, Fraction(x), rounding, overflow)

    def ulp(self, x: ArrayLike, lo: ArrayLike | None = None) -> Floats:
        """Unit in the last place at the real number x + lo: 2^(clip(floor(log2|x|), emin, emax) - precision + 1).

        eta at 0 and below the normal range, ulp(max) beyond max and at infinity, NaN at NaN; 1 for integers; for nf4
        the distance of the levels around x. Give `lo` where x may be a power of two and lo negative: the binade below
        counts. Source: Goldberg's definition extended to the reals, Muller, INRIA RR-5504 (2005).
        """
        return ulp.ulp(self, np.asarray(x, np.float64), None if lo is None else np.asarray(lo, np.float64))

    def keys(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Integers in the order of the values, one step a representable value, both zeros 0.

        An infinity is one step beyond max. Keys of NaN codes mean nothing: exclude them first (`ulp.kappa` does).
        """
        return _codes.keys(self, np.asarray(codes))

    def _chunked(
        self,
        x: ArrayLike,
        lo: ArrayLike | None,
        mode: str,
        overflow: str | None,
        nan: str | None,
        random: ArrayLike | None,
        random_bits: int | None,
        dtype: Any,
        finish: "Callable[[Format, Floats], NDArray[Any]] | None",
    ) -> NDArray[Any]:
        """Round a piece at a time and `finish` each."""
        x = rounding.exact_float64(x)
        low = None if lo is None else rounding.exact_float64(lo)
        rule = rounding.rule(self, mode, overflow, nan, random_bits, paired=lo is not None)
        bits = rounding.random_array(rule, random)

        def piece(x: Floats, lo: Floats | None, random: NDArray[np.int64] | None) -> NDArray[Any]:
            values = rounding.round_chunk(self, rule, x, lo, random)
            return values if finish is None else finish(self, values)

        return by_chunks(piece, dtype, x, low, bits)


@cache
def _build(name: str) -> Format:
    r = row(name)
    if r.kind == "float" or r.kind == "exponent":
        hidden = r.precision - 1
        emin = (0 if r.kind == "exponent" else 1) - r.bias
        emax = max((r.max_code >> hidden) - r.bias, emin)
        largest = _codes.magnitude(r.max_code, r.precision, emin, r.bias)
        lowest = -largest if r.signed else (2.0**emin if r.kind == "exponent" else 0.0)
    elif r.kind == "integer":
        emin = emax = r.bits - 1
        largest = float(r.max_code)
        lowest = -largest - 1 if r.signed else 0.0
    else:
        emin, emax, largest, lowest = 0, 0, r.levels[-1], r.levels[0]
    spare = _codes.SPARE_TF32 if name == "tf32" else 0
    width = next(w for w in (8, 16, 32, 64) if w >= r.bits + spare)
    return Format(
        name=name,
        kind=r.kind,
        bits=r.bits,
        precision=r.precision,
        bias=r.bias,
        emin=emin,
        emax=emax,
        max=largest,
        lowest=lowest,
        signed=r.signed,
        has_inf=r.inf_code is not None,
        has_nan=r.nan_code is not None,
        has_negative_zero=r.negative_zero,
        max_code=r.max_code << spare,
        inf_code=None if r.inf_code is None else r.inf_code << spare,
        nan_code=None if r.nan_code is None else r.nan_code << spare,
        levels=r.levels,
        code_dtype=np.dtype(f"u{width // 8}"),
    )
