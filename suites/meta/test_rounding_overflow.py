"""What rounds beyond a format's range, NaN without a code, the low part at the ends, and options that are refused."""

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from rounding_points import MODES

from lastbit.references.formats import Format, FormatError

#: format, x, overflow -> value, ties at the threshold included.
OVERFLOW: list[tuple[str, float, str | None, float]] = [
    ("f16", 65519.99, None, 65504.0),
    ("f16", 65520.0, None, np.inf),
    ("f16", -65520.0, "saturate", -65504.0),
    ("f16", np.inf, "saturate", 65504.0),
    ("f16", np.inf, "propagate", np.inf),
    ("f16", 1e30, "propagate", 65504.0),
    ("f16", 1e30, "nan", np.nan),
    ("bf16", 3.39617752923046e38, None, np.inf),
    ("f32", 3.4028235677973366e38, None, np.inf),
    ("f32", 3.4028235677973362e38, None, 3.4028234663852886e38),
    ("f64", np.inf, "saturate", 1.7976931348623157e308),
    ("e5m2", 61439.9, None, 57344.0),
    ("e5m2", 61440.0, None, np.inf),
    ("e5m2", 61440.0, "saturate", 57344.0),
    ("e4m3", 248.0, None, np.inf),
    ("e3m4", 15.75, None, np.inf),
    ("e4m3fn", 464.0, None, 448.0),
    ("e4m3fn", 464.0001, None, np.nan),
    ("e4m3fn", -464.0001, "saturate", -448.0),
    ("e4m3fn", np.inf, None, np.nan),
    ("e4m3fn", np.inf, "propagate", np.nan),
    ("e4m3fn", -np.inf, "saturate", -448.0),
    ("e4m3fnuz", 247.99, None, 240.0),
    ("e4m3fnuz", 248.0, None, np.nan),
    ("e4m3b11fnuz", 31.0, None, np.nan),
    ("e5m2fnuz", 61440.0, None, np.nan),
    ("e2m1fn", 7.0, None, 6.0),
    ("e2m1fn", 1e300, None, 6.0),
    ("e2m1fn", -np.inf, None, -6.0),
    ("e2m3fn", 9.0, None, 7.5),
    ("e3m2fn", -31.0, None, -28.0),
    ("e8m0fnu", 1.5 * 2.0**127, None, 2.0**127),
    ("e8m0fnu", 1.51 * 2.0**127, None, np.nan),
    ("e8m0fnu", np.inf, "saturate", 2.0**127),
    ("e8m0fnu", 0.0, None, 2.0**-127),
    ("e8m0fnu", -0.0, None, 2.0**-127),
    ("e8m0fnu", 1e-300, None, 2.0**-127),
    ("e8m0fnu", -1e-300, None, np.nan),
    ("e8m0fnu", -1.0, "saturate", 2.0**-127),
    ("i8", 127.5, None, 127.0),
    ("i8", -128.5, None, -128.0),
    ("i8", -1e9, None, -128.0),
    ("u8", -0.5, None, 0.0),
    ("u8", -3.0, None, 0.0),
    ("u4", 15.4, None, 15.0),
    ("i4", np.inf, None, 7.0),
    ("i32", 2147483647.5, None, 2147483647.0),
    ("i32", -np.inf, None, -2147483648.0),
    ("nf4", 1.7, None, 1.0),
    ("nf4", -np.inf, None, -1.0),
    ("p3109_8p4se", 232.0, None, 224.0),
    ("p3109_8p4se", 232.01, None, np.inf),
    ("p3109_8p4sf", 248.0, None, np.nan),
    ("p3109_8p3se", 53248.0, None, 49152.0),
    ("p3109_8p3se", 53248.0001, None, np.inf),
    ("p3109_8p1uf", 1.5 * 2.0**126, None, 2.0**126),
    ("p3109_8p1uf", -1.0, None, np.nan),
    ("p3109_8p1uf", -1.0, "saturate", 0.0),
    ("p3109_8p1uf", -(2.0**-130), None, 0.0),
    ("p3109_4p2sf", 3.5, None, np.nan),
    ("p3109_4p2sf", np.inf, "saturate", 3.0),
    ("p3109_8p3ue", -np.inf, "inf", np.nan),
]


@pytest.mark.parametrize(("name", "x", "overflow", "want"), OVERFLOW)
def test_overflow_by_policy(name: str, x: float, overflow: str | None, want: float) -> None:
    got = float(Format.of(name).round(x, overflow=overflow))
    assert got == want or (np.isnan(got) and np.isnan(want))


@pytest.mark.parametrize("name", ["f16", "e4m3fn", "e5m2", "f32", "f64"])
def test_directed_modes_do_not_pass_the_largest_value(name: str) -> None:
    """IEEE 754-2019 section 4.3.2; an infinity stays what the policy says."""
    fmt = Format.of(name)
    own = np.inf if fmt.has_inf else np.nan
    big, lo = (np.finfo(float).max, 2.0**970) if name == "f64" else (4 * fmt.max, 0.0)
    x, low = np.array([big, -big, np.inf, -np.inf]), np.array([lo, -lo, 0, 0])
    for mode, want in {
        "toward-zero": [fmt.max, -fmt.max, own, -own],
        "down": [fmt.max, -own, own, -own],
        "up": [own, -fmt.max, own, -own],
    }.items():
        assert np.array_equal(fmt.round(x, low, rounding=mode), want, equal_nan=True), mode


@pytest.mark.parametrize("name", ["f32", "f16", "e4m3fn"])
def test_pair_beyond_float64_is_a_finite_number(name: str) -> None:
    """Its float64 sum is infinite, but toward zero it goes to the largest value, as any finite number."""
    fmt = Format.of(name)
    assert float(fmt.round(sys.float_info.max, 2.0**970, rounding="toward-zero")) == fmt.max


def test_low_part_moves_an_exact_value_in_directed_modes_only() -> None:
    fmt = Format.of("bf16")
    up, down = 1 + 2.0**-7, 1 - 2.0**-8
    for mode, above, below in [
        ("nearest-even", 1.0, 1.0),
        ("nearest-away", 1.0, 1.0),
        ("toward-zero", 1.0, down),
        ("down", 1.0, down),
        ("up", up, 1.0),
        ("to-odd", up, down),
    ]:
        got = fmt.round([1.0, 1.0], [5e-324, -5e-324], rounding=mode)
        assert got.tolist() == [above, below], mode


@pytest.mark.parametrize("name", ["f64", "f32", "f16", "e4m3fn", "e5m2"])
def test_nan_becomes_the_canonical_quiet_nan(name: str) -> None:
    fmt = Format.of(name)
    payload = np.array([0x7FF0_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFF], np.uint64).view(np.float64)
    for mode in MODES:
        assert np.isnan(fmt.round(payload, rounding=mode)).all()
        assert fmt.encode(payload, rounding=mode).tolist() == [fmt.nan_code] * 2


@pytest.mark.parametrize("name", ["e2m1fn", "e2m3fn", "e3m2fn", "i8", "u8", "i4", "u4", "i32", "nf4"])
def test_nan_without_a_code_needs_a_policy(name: str) -> None:
    fmt = Format.of(name)
    with pytest.raises(FormatError, match=rf"NaN has no value in {name}; say what it becomes: nan='zero' or nan='max'"):
        fmt.encode([1.0, np.nan])
    with pytest.raises(FormatError, match="NaN has no value in"):
        fmt.round([2 * fmt.max, np.nan, 2 * fmt.lowest])
    assert float(fmt.round(np.nan, nan="zero")) == 0
    assert float(fmt.round(np.nan, nan="max")) == fmt.max
    assert fmt.decode(fmt.encode(np.nan, nan="max")) == fmt.max


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("f16", {"rounding": "nearest"}, "rounding is 'nearest', expected one of nearest-even"),
        ("f16", {"overflow": "clip"}, "overflow is 'clip', expected one of inf, nan, saturate, propagate or None"),
        ("e4m3fn", {"overflow": "inf"}, "overflow is 'inf', but e4m3fn has no inf"),
        ("e2m1fn", {"overflow": "nan"}, "overflow is 'nan', but e2m1fn has no nan"),
        ("e2m1fn", {"nan": "min"}, "nan is 'min', expected 'zero', 'max' or None"),
        ("f16", {"rounding": "stochastic"}, "random_bits is None"),
        ("f16", {"rounding": "stochastic", "random_bits": 63, "random": 0}, "random_bits is 63"),
        ("f16", {"rounding": "stochastic", "random_bits": 8}, "stochastic rounding takes random"),
        ("f16", {"rounding": "stochastic", "random_bits": 8, "random": 0.5}, "stochastic rounding takes random"),
        ("f32", {"rounding": "stochastic", "random_bits": 29, "random": 0, "lo": 0.0}, "takes 1 to 28 here"),
        ("nf4", {"rounding": "stochastic", "random_bits": 8, "random": 0}, "no power of two apart"),
    ],
)
def test_wrong_option_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Format.of(name).round(1.0, **options)


def test_values_that_float64_does_not_hold_are_refused() -> None:
    fmt = Format.of("f32")
    with pytest.raises(FormatError, match="values of type int64 are not exact in float64"):
        fmt.round(np.array([2**53 + 1]))
    with pytest.raises(FormatError, match="values of type complex128"):
        fmt.round(np.array([1j]))
    assert fmt.round(np.array([2**53], np.int64)).tolist() == [2.0**53]
    with pytest.raises(FormatError, match="rounding is 'stochastic'"):
        fmt.round_rational(Fraction(1, 3), rounding="stochastic")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_pair_at_half_the_way_beyond_float64_is_rounded_away(sign: float) -> None:
    """The next number after the largest, 2^1024 - 2^971, would be 2^1024."""
    fmt, largest = Format.of("f64"), sign * sys.float_info.max
    low = sign * np.array([2.0**970, 2.0**969, np.nextafter(2.0**970, 0), 0.0])
    got = fmt.round(np.full(4, largest), low, rounding="nearest-away")
    assert got.tolist() == [sign * np.inf, largest, largest, largest]
