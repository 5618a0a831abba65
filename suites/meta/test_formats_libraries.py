"""Casts of other libraries: ours from float32 everywhere but in the named rows, which are asserted as they are.

The rows are the table of docs/formats.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from format_libraries import GFLOAT, ML_DTYPES, TORCH

from lastbit.references.formats import Format, FormatError

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"

#: Options under which a library's cast from float32 is ours bit for bit, where the defaults are not.
OPTIONS: dict[tuple[str, str], dict[str, str]] = {
    ("torch", "e4m3fn"): {"overflow": "saturate"},
    ("torch", "e8m0fnu"): {"rounding": "nearest-away"},
    ("ml_dtypes", "e8m0fnu"): {"rounding": "nearest-away"},
}

#: Format, value, and what torch, ml_dtypes (for f16: numpy), gfloat and lastbit make of it; "-": there is no such cast.
ROWS: list[tuple[str, str, str, str, str, str]] = [
    # Overflow is a policy, and one library has several.
    ("e4m3fn", "464", "448", "448", "448", "448"),
    ("e4m3fn", "500", "448", "NaN", "NaN", "NaN"),
    ("e4m3fn", "inf", "448", "NaN", "NaN", "NaN"),
    ("e4m3fn", "-inf", "-448", "NaN", "NaN", "NaN"),
    ("e5m2", "61440", "inf", "inf", "inf", "inf"),
    ("e4m3fnuz", "248", "NaN", "NaN", "-", "NaN"),
    ("e5m2fnuz", "61440", "NaN", "NaN", "-", "NaN"),
    ("e2m1fn", "2^30", "-", "6", "ValueError", "6"),
    ("e2m3fn", "inf", "-", "7.5", "ValueError", "7.5"),
    # NaN without a code.
    ("e2m1fn", "NaN", "-", "-0", "ValueError", "FormatError"),
    ("e2m3fn", "NaN", "-", "-0", "ValueError", "FormatError"),
    ("e3m2fn", "NaN", "-", "-0", "ValueError", "FormatError"),
    # e8m0 has no zero, no sign, and one significant bit.
    ("e8m0fnu", "0", "2^-127", "NaN", "0", "2^-127"),
    ("e8m0fnu", "-2", "2", "NaN", "-2", "NaN"),
    ("e8m0fnu", "1.5", "2", "2", "2", "2"),
    ("e8m0fnu", "3", "4", "4", "2", "2"),
    ("e8m0fnu", "2^-127 + 2^-129", "2^-126", "2^-126", "2^-127", "2^-127"),
    ("e8m0fnu", "2^-140", "2^-127", "2^-127", "2^-140", "2^-127"),
    ("e8m0fnu", "2^127 + 2^126", "NaN", "NaN", "2^127", "2^127"),
    ("e8m0fnu", "inf", "NaN", "NaN", "NaN", "NaN"),
    # Casts from float64 that go through float32 round twice.
    ("bf16", "1 + 2^-8 + 2^-30", "1", "1", "1.0078125", "1.0078125"),
    ("f16", "1 + 2^-11 + 2^-40", "1", "1.0009765625", "1.0009765625", "1.0009765625"),
    ("e4m3fn", "1 + 2^-4 + 2^-30", "1", "1", "1.125", "1.125"),
    ("e5m2", "1 + 2^-3 + 2^-30", "1", "1", "1.25", "1.25"),
    ("e2m3fn", "1 + 2^-4 + 2^-30", "-", "1", "1.125", "1.125"),
    ("e2m1fn", "1 + 2^-2 + 2^-30", "-", "1", "1.5", "1.5"),
    # Formats without -0, or without a sign.
    ("e4m3fnuz", "-0", "0", "0", "-", "0"),
    ("p3109_8p4se", "-0", "-", "-", "0", "0"),
    ("p3109_8p1uf", "-1", "-", "-", "-1", "NaN"),
]


def number(words: str) -> float:
    """The value that a cell of the table writes: a sum of decimals and powers of two, exact in float64."""
    terms = words.split(" + ")
    return sum((2.0 ** int(term[2:]) if term.startswith("2^") else float(term) for term in terms), -0.0)


def table() -> list[str]:
    """The rows as lines of docs/formats.md."""
    return [f"| {name} | {x} | {' | '.join(results)} |" for name, x, *results in ROWS]


def parameters() -> list[str]:
    """The parameters of every format as lines of docs/formats.md."""
    return [_parameter_line(Format.of(name)) for name in Format.names()]


def _parameter_line(fmt: Format) -> str:
    nan = "-" if fmt.nan_code is None else f"{fmt.nan_code:#x}"
    inf = "-" if fmt.inf_code is None else f"{fmt.inf_code:#x}"
    zeros = "none" if fmt.kind == "exponent" else "+0, -0" if fmt.has_negative_zero else "+0"
    lowest, eta = f"{fmt.lowest:.9g}", f"2^{int(np.log2(fmt.eta))}" if fmt.kind != "table" else f"{fmt.eta:.9g}"
    normal = f"2^{fmt.emin}" if fmt.kind in ("float", "exponent") else "-"
    return (
        f"| {fmt.name} | {fmt.bits} | {fmt.precision} | {fmt.max:.9g} | {lowest} | {normal} | {eta} | {inf} | {nan} "
        f"| {zeros} |"
    )


def by_torch(name: str, x: float) -> float:
    torch = pytest.importorskip("torch", reason="torch is optional; the other libraries' cells are asserted without it")
    return float(torch.tensor(x, dtype=torch.float64).to(getattr(torch, TORCH[name])).to(torch.float64))


def by_ml_dtypes(name: str, x: float) -> float:
    dtype = np.float16 if name == "f16" else getattr(ml_dtypes, ML_DTYPES[name])
    with np.errstate(all="ignore"):
        return float(np.array([x]).astype(dtype).astype(np.float64)[0])


def by_gfloat(name: str, x: float) -> float:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is the independent implementation")
    from gfloat import formats

    p3109 = {
        "p3109_8p4se": lambda: formats.format_info_p3109(8, 4),
        "p3109_8p1uf": lambda: formats.format_info_p3109(8, 1, formats.Signedness.Unsigned, formats.Domain.Finite),
    }
    info = p3109[name]() if name in p3109 else getattr(formats, f"format_info_{GFLOAT[name]}")
    return float(gfloat.round_float(info, x))


def by_lastbit(name: str, x: float) -> float:
    return float(Format.of(name).round(x))


LIBRARIES: dict[str, Callable[[str, float], float]] = {
    "torch": by_torch,
    "ml_dtypes": by_ml_dtypes,
    "gfloat": by_gfloat,
    "lastbit": by_lastbit,
}
CELLS = [
    pytest.param(library, name, x, want, id=f"{library}-{name}-{x.replace(' ', '')}")
    for name, x, *results in ROWS
    for library, want in zip(LIBRARIES, results, strict=True)
    if want != "-"
]


@pytest.mark.parametrize(("library", "name", "x", "want"), CELLS)
def test_libraries_disagree_as_documented(library: str, name: str, x: str, want: str) -> None:
    if library == "torch" and name == "e4m3fn" and x in ("500", "inf", "-inf"):
        torch = pytest.importorskip("torch", reason="torch is optional; the other libraries' cells need none")
        want = want if _saturates(torch) else "NaN"
    if want.endswith("Error"):
        with pytest.raises((ValueError, FormatError)) as caught:
            LIBRARIES[library](name, number(x))
        assert caught.typename == want
    else:
        got, value = LIBRARIES[library](name, number(x)), number(want)
        assert got == value or (np.isnan(got) and np.isnan(value))
        assert np.signbit(got) == np.signbit(value) or np.isnan(value)


def _saturates(torch: Any) -> bool:
    """Whether this torch casts to e4m3fn with saturation: pytorch pull requests 177870 and 178817, in 2.13."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("| format | value | torch 2.13 | ml_dtypes 0.5, numpy | gfloat 0.5 | lastbit |", table()),
        ("| format | bits | precision | max | lowest | min normal | smallest | inf | NaN | zeros |", parameters()),
    ],
)
def test_documentation_has_the_same_table(header: str, lines: list[str]) -> None:
    written = DOCS.read_text(encoding="utf-8").splitlines()
    start = written.index(header) + 2
    assert written[start : start + len(lines) + 1] == [*lines, ""]


def interesting(fmt: Format) -> Any:
    """float32 inputs: every value, midpoint and threshold of `fmt`, their neighbours, and the specials."""
    codes = np.arange(1 << fmt.bits).astype(fmt.code_dtype)
    values = fmt.decode(codes)
    values = np.unique(values[np.isfinite(values)])
    values = np.unique(np.concatenate([values, -values]))
    middles = values[:-1] / 2 + values[1:] / 2
    ends = np.array([fmt.threshold, -fmt.threshold, 2 * fmt.max, -2 * fmt.max, 1e38, -1e38])
    with np.errstate(over="ignore"):
        points = np.concatenate([values, middles, ends]).astype(np.float32)
        around = [points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-np.inf))]
    return np.concatenate([*around, np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40])])


def differences(library: str, name: str, x: Any, theirs: Any) -> Any:
    """The inputs whose value differs from ours under the library's options, or whose zero has the other sign."""
    fmt = Format.of(name)
    mine = fmt.round(x, nan=None if fmt.has_nan else "zero", **OPTIONS.get((library, name), {}))
    same = ((mine == theirs) & (np.signbit(mine) == np.signbit(theirs))) | (np.isnan(mine) & np.isnan(theirs))
    return x[~same]


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_casts_from_float32_agree(name: str) -> None:
    fmt = Format.of(name)
    x = interesting(fmt)
    with np.errstate(all="ignore"):
        theirs = x.astype(getattr(ml_dtypes, ML_DTYPES[name])).astype(np.float64)
    different = differences("ml_dtypes", name, x, theirs)
    if name == "e8m0fnu":
        zero, subnormal = different == 0, (different > 2.0**-127) & (different < 1.5 * 2.0**-127)
        assert zero.any()
        assert subnormal.any()
        assert (zero | subnormal).all()
    elif not fmt.has_nan:
        assert np.isnan(different).tolist() == [True]
    else:
        assert different.tolist() == []


@pytest.mark.parametrize("name", [name for name in TORCH if name not in ("i8", "u8")])
def test_torch_casts_from_float32_agree(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is optional; ml_dtypes covers its formats too")
    fmt = Format.of(name)
    x = interesting(fmt)
    theirs = torch.from_numpy(x).to(getattr(torch, TORCH[name])).to(torch.float64).numpy()
    different = differences("torch", name, x, theirs)
    if name == "e8m0fnu":
        # Absolute values; and float32 subnormals above 2^-127 go up to 2^-126.
        negative, subnormal = different < 0, (different > 2.0**-127) & (different < 1.5 * 2.0**-127)
        assert negative.any()
        assert subnormal.any()
        assert (negative | subnormal).all()
    elif name == "e4m3fn" and not _saturates(torch):
        assert (np.abs(different) > 464).all()
    else:
        assert different.tolist() == []


@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_rounds_alike_from_float64(name: str) -> None:
    """Where the table has no row: within the threshold, and for e8m0 within its range and off the ties."""
    gfloat = pytest.importorskip("gfloat", reason="gfloat is the independent implementation")
    from gfloat import formats

    fmt = Format.of(name)
    info = getattr(formats, f"format_info_{GFLOAT[name]}")
    x = interesting(fmt).astype(np.float64)
    x = x[np.abs(x) < fmt.threshold]
    x = x[x >= fmt.lowest] if name == "e8m0fnu" else x
    x = np.concatenate([x, np.nextafter(x, np.inf)])
    modes = gfloat.RoundMode
    for mine, theirs in {
        "nearest-even": modes.TiesToEven,
        "nearest-away": modes.TiesToAway,
        "toward-zero": modes.TowardZero,
        "down": modes.TowardNegative,
        "up": modes.TowardPositive,
    }.items():
        saturated = not fmt.has_nan
        got = fmt.round(x, rounding=mine, overflow="saturate" if saturated else None)
        want = gfloat.round_ndarray(info, x, theirs, sat=saturated)
        assert np.array_equal(got, want, equal_nan=True), mine


def test_planted_wrong_options_are_seen() -> None:
    """The comparison has teeth: under the wrong tie or overflow rule the libraries do not agree."""
    x = interesting(Format.of("e4m3fn"))
    right = Format.of("e4m3fn").round(x)
    assert differences("ml_dtypes", "e4m3fn", x, right).size == 0
    assert differences("ml_dtypes", "e4m3fn", x, Format.of("e4m3fn").round(x, rounding="nearest-away")).size > 100
    assert differences("ml_dtypes", "e4m3fn", x, Format.of("e4m3fn").round(x, overflow="saturate")).size > 1
