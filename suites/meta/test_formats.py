"""Formats decode as three other libraries do, every code of them, and their parameters are the published ones."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from format_libraries import GFLOAT, ML_DTYPES, TORCH
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.kernel import FORMATS
from lastbit.references.format_table import P3109
from lastbit.references.formats import Format, FormatError
from lastbit.references.ulp import error_ulp, kappa

SMALL = [name for name in Format.names() if Format.of(name).bits <= 16]

F64_MAX = 1.7976931348623157e308

#: name: bits, precision, emin, emax, max, lowest, eta, has_inf, has_nan, -0, NaN code; by hand.
PARAMETERS: dict[str, tuple[int, int, int, int, float, float, float, bool, bool, bool, int | None]] = {
    "f64": (64, 53, -1022, 1023, F64_MAX, -F64_MAX, 2.0**-1074, True, True, True, 0x7FF8 << 48),
    "f32": (32, 24, -126, 127, 3.4028234663852886e38, -3.4028234663852886e38, 2.0**-149, True, True, True, 0x7FC00000),
    "tf32": (19, 11, -126, 127, 3.4011621342146535e38, -3.4011621342146535e38, 2.0**-136, True, True, True, 0x7FC00000),
    "f16": (16, 11, -14, 15, 65504, -65504, 2.0**-24, True, True, True, 0x7E00),
    "bf16": (16, 8, -126, 127, 3.3895313892515355e38, -3.3895313892515355e38, 2.0**-133, True, True, True, 0x7FC0),
    "e5m2": (8, 3, -14, 15, 57344, -57344, 2.0**-16, True, True, True, 0x7E),
    "e5m2fnuz": (8, 3, -15, 15, 57344, -57344, 2.0**-17, False, True, False, 0x80),
    "e4m3fn": (8, 4, -6, 8, 448, -448, 2.0**-9, False, True, True, 0x7F),
    "e4m3fnuz": (8, 4, -7, 7, 240, -240, 2.0**-10, False, True, False, 0x80),
    "e4m3b11fnuz": (8, 4, -10, 4, 30, -30, 2.0**-13, False, True, False, 0x80),
    "e4m3": (8, 4, -6, 7, 240, -240, 2.0**-9, True, True, True, 0x7C),
    "e3m4": (8, 5, -2, 3, 15.5, -15.5, 2.0**-6, True, True, True, 0x78),
    "e3m2fn": (6, 3, -2, 4, 28, -28, 2.0**-4, False, False, True, None),
    "e2m3fn": (6, 4, 0, 2, 7.5, -7.5, 2.0**-3, False, False, True, None),
    "e2m1fn": (4, 2, 0, 2, 6, -6, 0.5, False, False, True, None),
    "e8m0fnu": (8, 1, -127, 127, 2.0**127, 2.0**-127, 2.0**-127, False, True, False, 0xFF),
    "nf4": (4, 4, 0, 0, 1, -1, 0.07958029955625534, False, False, False, None),
    "i8": (8, 8, 7, 7, 127, -128, 1, False, False, False, None),
    "u8": (8, 8, 7, 7, 255, 0, 1, False, False, False, None),
    "i4": (4, 4, 3, 3, 7, -8, 1, False, False, False, None),
    "u4": (4, 4, 3, 3, 15, 0, 1, False, False, False, None),
    "i32": (32, 32, 31, 31, 2**31 - 1, -(2**31), 1, False, False, False, None),
    "p3109_8p1uf": (8, 1, -127, 126, 2.0**126, 0, 2.0**-127, False, True, False, 0xFF),
    "p3109_8p3se": (8, 3, -15, 15, 49152, -49152, 2.0**-17, True, True, False, 0x80),
    "p3109_8p3sf": (8, 3, -15, 15, 57344, -57344, 2.0**-17, False, True, False, 0x80),
    "p3109_8p4se": (8, 4, -7, 7, 224, -224, 2.0**-10, True, True, False, 0x80),
    "p3109_8p4sf": (8, 4, -7, 7, 240, -240, 2.0**-10, False, True, False, 0x80),
    "p3109_4p2sf": (4, 2, -1, 1, 3, -3, 0.25, False, True, False, 8),
}  # fmt: skip


def every_code(fmt: Format) -> Any:
    return np.arange(1 << fmt.bits).astype(fmt.code_dtype)


def same(x: Any, y: Any) -> bool:
    """Equal values, NaN and zero signs included."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    nan = np.isnan(x)
    return bool(np.array_equal(nan, np.isnan(y)) and np.array_equal(x[~nan], y[~nan])) and bool(
        np.array_equal(np.signbit(x[~nan]), np.signbit(y[~nan]))
    )


def test_every_format_of_the_kernel_module_is_there() -> None:
    assert set(Format.names()) == FORMATS == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    fmt = Format.of(name)
    got = (
        fmt.bits, fmt.precision, fmt.emin, fmt.emax, fmt.max, fmt.lowest, fmt.eta,
        fmt.has_inf, fmt.has_nan, fmt.has_negative_zero, fmt.nan_code,
    )  # fmt: skip
    assert got == PARAMETERS[name]
    assert fmt.u == 2.0**-fmt.precision
    assert fmt.min_normal == 2.0**fmt.emin


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("f64", math.inf), ("f32", 2.0**128 - 2.0**103), ("f16", 65520), ("bf16", 2.0**128 - 2.0**119), ("e5m2", 61440),
        ("e4m3fn", 464), ("e4m3fnuz", 248), ("e4m3", 248), ("e3m4", 15.75), ("e2m1fn", 7), ("e3m2fn", 30),
        ("e8m0fnu", 1.5 * 2.0**127), ("i8", 127.5), ("u4", 15.5), ("p3109_8p4se", 232),
    ],
)  # fmt: skip
def test_threshold_is_half_an_ulp_beyond_max(name: str, threshold: float) -> None:
    assert Format.of(name).threshold == threshold


@pytest.mark.parametrize("name", ML_DTYPES)
def test_decode_agrees_with_ml_dtypes(name: str) -> None:
    import ml_dtypes

    fmt = Format.of(name)
    with np.errstate(invalid="ignore"):  # signalling NaN
        theirs = every_code(fmt).view(getattr(ml_dtypes, ML_DTYPES[name])).astype(np.float64)
    assert same(fmt.decode(every_code(fmt)), theirs)


@pytest.mark.parametrize(("name", "theirs"), [("i4", "int4"), ("u4", "uint4")])
def test_decode_of_four_bit_integers_agrees_with_ml_dtypes(name: str, theirs: str) -> None:
    import ml_dtypes

    fmt = Format.of(name)
    assert same(fmt.decode(every_code(fmt)), every_code(fmt).view(getattr(ml_dtypes, theirs)).astype(np.float64))


@pytest.mark.parametrize("name", TORCH)
def test_decode_agrees_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is optional; ml_dtypes and gfloat cover its formats too")
    fmt = Format.of(name)
    theirs = torch.from_numpy(every_code(fmt)).view(getattr(torch, TORCH[name])).to(torch.float64).numpy()
    assert same(fmt.decode(every_code(fmt)), theirs)


@pytest.mark.parametrize("name", GFLOAT)
def test_decode_agrees_with_gfloat(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is the independent implementation")
    from gfloat import formats

    fmt = Format.of(name)
    theirs = gfloat.decode_ndarray(getattr(formats, f"format_info_{GFLOAT[name]}"), every_code(fmt).astype(np.int64))
    assert same(fmt.decode(every_code(fmt)), theirs)


@pytest.mark.parametrize("bits", range(3, 9))
def test_decode_agrees_with_gfloat_for_every_p3109_format(bits: int) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is the independent implementation")
    from gfloat.formats import Domain, Signedness, format_info_p3109

    for sign, signedness in (("s", Signedness.Signed), ("u", Signedness.Unsigned)):
        for kind, domain in (("e", Domain.Extended), ("f", Domain.Finite)):
            for precision in range(1, bits + (sign == "u")):
                fmt = Format.of(f"p3109_{bits}p{precision}{sign}{kind}")
                theirs = gfloat.decode_ndarray(
                    format_info_p3109(bits, precision, signedness, domain), every_code(fmt).astype(np.int64)
                )
                assert same(fmt.decode(every_code(fmt)), theirs), fmt.name
                kept = ~np.isnan(theirs)
                assert np.array_equal(fmt.encode(theirs[kept]), every_code(fmt)[kept]), fmt.name


@pytest.mark.parametrize("name", SMALL)
def test_encode_returns_every_code(name: str) -> None:
    """NaN codes come back as the canonical one."""
    fmt = Format.of(name)
    codes = every_code(fmt)
    values = fmt.decode(codes)
    back = fmt.encode(values)
    assert back.dtype == fmt.code_dtype
    assert np.array_equal(back, np.where(np.isnan(values), fmt.nan_code or 0, codes))
    assert np.isnan(values).any() == fmt.has_nan
    assert np.isinf(values).any() == fmt.has_inf
    assert (np.signbit(values) & (values == 0)).any() == fmt.has_negative_zero
    finite = values[np.isfinite(values)]
    assert (finite.max(), finite.min(), finite[finite > 0].min()) == (fmt.max, fmt.lowest, fmt.eta)


@pytest.mark.parametrize("name", ["f32", "f64", "tf32", "i32"])
def test_encode_returns_wide_codes(name: str) -> None:
    fmt = Format.of(name)
    drawn = np.random.default_rng(5).integers(0, 1 << fmt.bits, 50000, dtype=np.uint64)
    codes = (drawn << np.uint64(13 if name == "tf32" else 0)).astype(fmt.code_dtype)
    values = fmt.decode(codes)
    kept = ~np.isnan(values)
    assert np.array_equal(fmt.encode(values[kept]), codes[kept])
    if name != "tf32":
        assert np.array_equal(values[kept], codes.view({"i32": "i4", "f32": "f4", "f64": "f8"}[name])[kept])


@pytest.mark.parametrize("name", SMALL)
def test_keys_are_the_order_of_the_values(name: str) -> None:
    fmt = Format.of(name)
    values = fmt.decode(every_code(fmt))
    kept = ~np.isnan(values)
    order = np.argsort(values[kept], kind="stable")
    keys = fmt.keys(every_code(fmt)[kept])[order]
    steps = np.diff(values[kept][order])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(np.diff(keys), (steps != 0).astype(np.int64))
    if name not in ("nf4", "e8m0fnu"):
        assert (fmt.keys(every_code(fmt)[values == 0]) == 0).all()


@pytest.mark.parametrize("name", ["f64", "f32", "tf32", "i32"])
def test_keys_of_wide_formats(name: str) -> None:
    fmt = Format.of(name)
    x = np.array([-fmt.max, -3.0, -2.0, -fmt.eta, 0.0, fmt.eta, 2.0, 2 + float(fmt.ulp(2.0)), fmt.max])
    keys = fmt.keys(fmt.encode(x))
    assert (np.diff(keys) > 0).all()
    assert (keys[3], keys[4], keys[5]) == (-1, 0, 1)
    assert keys[7] - keys[6] == 1
    assert keys[8] == fmt.max_code >> (13 if name == "tf32" else 0)


@pytest.mark.parametrize("name", Format.names())
def test_ulp_is_the_definition(name: str) -> None:
    """In rationals: 2^(min(max(floor(log2|x|), emin), emax) - p + 1), of the exact x + lo."""
    fmt = Format.of(name)
    if fmt.kind == "table":
        assert fmt.ulp([0.0, 0.9, 1.0, -0.9, 5.0]).tolist() == [
            0.07958029955625534, 1 - 0.7229568362236023, 1 - 0.7229568362236023, 1 - 0.6961928009986877,
            1 - 0.7229568362236023,
        ]  # fmt: skip
        return

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-0.5, 0.5), st.integers(-1100, 1023))
    def check(x: float, part: float, exponent: int) -> None:
        for hi in (x, math.ldexp(1.0, exponent), -math.ldexp(1.0, exponent)):
            lo = part * math.ulp(hi)
            exact = abs(Fraction(hi) + Fraction(lo))
            e = fmt.emin
            while e < fmt.emax and exact >= Fraction(2) ** (e + 1):
                e += 1
            assert Fraction(float(fmt.ulp(hi, lo))) == Fraction(2) ** (e - fmt.precision + 1), (hi, lo)

    check()
    assert float(fmt.ulp(0.0)) == float(fmt.ulp(fmt.eta)) == fmt.eta
    assert float(fmt.ulp(np.inf)) == float(fmt.ulp(fmt.max))
    assert np.isnan(float(fmt.ulp(np.nan)))


def test_ulp_at_power_of_two_uses_the_lower_binade_for_a_negative_low_part() -> None:
    assert Format.of("bf16").ulp([1.0, 1.0, 1.0], [5e-324, 0.0, -5e-324]).tolist() == [2.0**-7, 2.0**-7, 2.0**-8]


@pytest.mark.parametrize("name", ["f64", "f32", "bf16", "e4m3fn", "e2m1fn", "i8"])
def test_error_ulp_is_the_rational_error(name: str) -> None:
    fmt = Format.of(name)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.floats(-fmt.max, fmt.max), st.floats(-0.5, 0.5), st.sampled_from([0, 1, -1, 5, None]))
    def check(hi: float, part: float, steps: int | None) -> None:
        lo = part * math.ulp(hi)
        y = -hi if steps is None else hi + steps * float(fmt.ulp(hi))
        y = float(fmt.round(y, overflow="saturate"))
        exact = Fraction(hi) + Fraction(lo)
        want = (Fraction(y) - exact) / Fraction(float(fmt.ulp(hi, lo)))
        got = float(error_ulp(y, hi, lo, fmt))
        if abs(want) < Fraction(2) ** 1000:
            # Two roundings to float64; a quotient below 2^-1022 rounds absolutely.
            assert abs(Fraction(got) - want) <= abs(want) * Fraction(2) ** -52 + Fraction(2) ** -1073

    check()


def test_error_ulp_of_special_values() -> None:
    fmt = Format.of("f16")
    inf, nan = np.inf, np.nan
    got = error_ulp([nan, nan, 1, inf, inf, 1, inf], [nan, 1, nan, inf, -inf, inf, 1], np.zeros(7), fmt)
    assert np.array_equal(got, [0, nan, nan, 0, inf, -inf, inf], equal_nan=True)
    # 2^53 ulp apart, though their difference exceeds float64.
    big = np.finfo(float).max
    assert float(error_ulp(-big, big, 0.0, Format.of("f64"))) == -(2.0**54 - 2)


@pytest.mark.parametrize("name", ["e4m3fn", "e4m3fnuz", "e5m2", "p3109_8p4se", "i8", "e2m1fn"])
def test_kappa_counts_the_values_between(name: str) -> None:
    """Every pair of codes, against a count in the sorted list of values."""
    fmt = Format.of(name)
    codes = every_code(fmt)
    a, b = (c.ravel() for c in np.meshgrid(codes, codes))
    x, y = fmt.decode(a), fmt.decode(b)
    values = np.unique(fmt.decode(codes)[np.isfinite(fmt.decode(codes))])
    count = np.abs(np.searchsorted(values, x) - np.searchsorted(values, y)).astype(np.float64)
    count[(np.isinf(x) | np.isinf(y)) & (x != y)] = np.inf
    count[np.isnan(x) | np.isnan(y)] = np.nan
    count[np.isnan(x) & np.isnan(y)] = 0
    assert np.array_equal(kappa(a, b, fmt), count, equal_nan=True)


def test_kappa_spans_float64() -> None:
    fmt = Format.of("f64")
    assert float(kappa(fmt.encode(-fmt.max), fmt.encode(fmt.max), fmt)) == 2.0 * 0x7FEFFFFFFFFFFFFF


def test_decode_into_out() -> None:
    for name in ("f64", "f32", "tf32", "f16", "bf16", "e4m3fn", "i8", "i32", "nf4", "p3109_10p4se"):
        fmt = Format.of(name)
        codes = fmt.encode(np.array([[0.0, 1.0], [-1.0, 1.0]]))
        out = np.empty((2, 2))
        assert fmt.decode(codes, out=out) is out
        assert np.array_equal(out, [[0.0, 1.0], [-1.0, 1.0]])


def test_shapes_are_kept() -> None:
    fmt = Format.of("bf16")
    for shape in ((), (0,), (3, 0, 2), (2, 3), (20000,)):
        x = np.ones(shape)
        codes = fmt.encode(x, 0.0)
        assert codes.shape == fmt.round(x).shape == fmt.decode(codes).shape == fmt.ulp(x, x * 0).shape == shape
        assert fmt.keys(codes).shape == kappa(codes, codes, fmt).shape == error_ulp(x, x, 0 * x, fmt).shape == shape
        assert (fmt.decode(codes) == 1).all()
    strided = np.arange(12.0).reshape(3, 4)[:, ::2].T
    assert np.array_equal(fmt.round(strided), strided)


def test_inputs_are_unchanged() -> None:
    fmt = Format.of("f64")
    x, lo = np.array([1.0, -0.0, np.inf]), np.array([2.0**-54, 0.0, 0.0])
    rounded = fmt.round(x)
    rounded[:] = 7
    fmt.round(x, lo, rounding="up")
    assert x.tolist() == [1.0, 0.0, np.inf]
    assert np.signbit(x[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float8", r"format 'float8' is unknown; known: f64, f32.*p3109_<bits>p<precision>"),
        ("p3109_8p8sf", "P3109 format with 8 bits and precision 8: bits must be 3 to 16, precision 1 to bits - 1"),
        ("p3109_17p8sf", "bits must be 3 to 16"),
        ("p3109_16p2sf", "exceed float64"),
    ],
)
def test_unknown_format_is_refused(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Format.of(name)


def test_wrong_codes_are_refused() -> None:
    with pytest.raises(FormatError, match="code 0x10 has more than 4 bits, the width of e2m1fn"):
        Format.of("e2m1fn").decode(np.array([16], np.uint8))
    with pytest.raises(FormatError, match="codes of f16 have type float16, expected uint16"):
        Format.of("f16").decode(np.array([1], np.float16))
    with pytest.raises(FormatError, match="does not fit uint8"):
        Format.of("i8").keys(np.array([-1]))
    assert Format.of("i8").decode([255, 128]).tolist() == [-1, -128]


def test_format_is_the_same_object_each_time() -> None:
    assert Format.of("f16") is Format.of("f16")
    assert Format.of(Format.of("f16")) is Format.of("f16")
    assert set(P3109) < set(Format.names())
