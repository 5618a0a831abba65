"""The figures of quality are what their formulas say, and tell formats apart as published work does."""

from fractions import Fraction
from math import inf, log10, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.cli import main
from lastbit.references.dequantize import truth
from lastbit.references.formats import Format
from lastbit.references.quality import COMPARED, compare, quality, table
from lastbit.references.quality_data import FAMILIES, matrix
from lastbit.references.quantize import quantize
from lastbit.references.scaling import Scaling


@pytest.mark.parametrize("name", COMPARED)
@settings(max_examples=4)
@given(family=st.sampled_from(sorted(FAMILIES)), seed=st.integers(0, 2**32))
def test_the_figures_are_their_formulas(name: str, family: str, seed: int) -> None:
    x = matrix(family, 2, 64, seed)
    found = quality(x, name)
    y = [Fraction(float(v)) for v in truth(quantize(x, name, "bf16"), name).hi.ravel()]
    exact = [Fraction(float(v)) for v in x.ravel()]
    noise = sum((a - b) ** 2 for a, b in zip(exact, y, strict=True))
    signal = sum(a * a for a in exact)
    assert found.sqnr_db == pytest.approx(10 * log10(signal / noise), rel=1e-12)
    size = sum(b * b for b in y)
    dot = float(sum(a * b for a, b in zip(exact, y, strict=True)))
    assert found.cosine == pytest.approx(dot / sqrt(float(signal) * float(size)), rel=1e-12)
    errors = sorted(abs(a - b) / abs(a) for a, b in zip(exact, y, strict=True) if a)
    middle = errors[(len(errors) - 1) // 2], errors[len(errors) // 2]
    assert found.median_relative == pytest.approx(float(sum(middle) / 2), rel=1e-12, abs=1e-300)
    assert found.lost == pytest.approx(sum(a != 0 and b == 0 for a, b in zip(exact, y, strict=True)) / len(errors))


def test_what_a_format_has_is_not_lost() -> None:
    x = np.array([[0.5, -1.0, 1.5, 6.0] * 8])
    found = quality(x, "mxfp4")
    assert (found.sqnr_db, found.median_relative, found.lost) == (inf, 0.0, 0.0)
    assert found.cosine == pytest.approx(1)


def test_everything_lost_has_no_cosine() -> None:
    x = np.full((1, 32), 1e-30)
    x[0, 0] = 0
    scaling = Scaling.of("fp8_group128_deepgemm")
    assert quality(x, scaling, "f32").cosine == 0
    assert quality(x, scaling, "f32").lost == 1


def test_the_comparison_tells_formats_apart() -> None:
    """By half a decibel at least, on matrices of 262144 numbers: what the papers of these formats claim."""
    found = {(q.scaling, q.family): q.sqnr_db for q in compare()}
    assert set(found) == {(scaling, family) for scaling in COMPARED for family in FAMILIES}
    for better, worse, family in (
        ("nvfp4", "mxfp4", "gaussian"),  # smaller blocks and finer scales
        ("nf4", "i4_group128", "gaussian"),
        ("i8_row", "fp8_row", "gaussian"),  # no numbers far from the rest: uniform steps win
        ("fp8_row", "i8_row", "activations"),  # and lose where there are
        ("i8_row", "i8_tensor", "activations"),
        ("mxint8", "mxfp8_e4m3", "gaussian"),
        ("mxfp8_e4m3", "mxfp8_e5m2", "gaussian"),
        ("i4_group32", "i4_group128", "student_t"),
        ("i4_group128_zp", "i4_group128", "student_t"),
    ):
        assert found[better, family] > found[worse, family] + 0.5, (better, worse, family)


def test_the_table_has_a_line_for_each_scaling() -> None:
    lines = table(compare(("mxfp4", "nvfp4"), ("gaussian", "keys"))).splitlines()
    assert lines[0] == "| scaling | bits | gaussian | keys |"
    assert [line.split(" | ")[0:2] for line in lines[2:]] == [["| mxfp4", "4.25"], ["| nvfp4", "4.50"]]


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastbit.references.quality.compare", lambda seed: compare(("mxfp4",), ("keys",), seed))
    assert main(["formats", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert table(compare(("mxfp4",), ("keys",), 3)) in printed
    assert "keys: " in printed


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_bf16_and_the_same_each_time(family: str) -> None:
    x = matrix(family, 64, 128, 3)
    assert x.shape == (64, 128)
    assert np.array_equal(x, Format.of("bf16").round(x))
    assert np.array_equal(x, matrix(family, 64, 128, 3))
    assert not np.array_equal(x, matrix(family, 64, 128, 4))
    assert np.isfinite(x).all()


def test_families_are_what_they_are_called() -> None:
    def peak(family: str) -> float:
        """The largest column over the typical one, by root mean square."""
        columns = np.sqrt(np.square(matrix(family, 256, 512, 1)).mean(axis=0))
        return float(columns.max() / np.median(columns))

    assert peak("gaussian") < 1.3
    assert 50 < peak("outlier_channels") < 70
    assert peak("activations") > 5
    assert peak("keys") > 3
    assert peak("values") < 1.3
    tails = matrix("student_t", 256, 512, 1)
    assert np.abs(tails).max() / tails.std() > 8 > np.abs(matrix("gaussian", 256, 512, 1)).max()
