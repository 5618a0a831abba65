"""What a scaling says about a kernel's operands, formats, results and storage."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.contract import _ARITHMETICS, _ORDERS, _RULES, Contract
from lastbit.errors import KernelError
from lastbit.kernel import Kernel
from lastbit.references import scaling as scalings
from lastbit.references.dequantize import ORDERS
from lastbit.references.dequantize_data import quantized
from lastbit.references.scaling import Scaling, ScalingError
from lastbit.results import results
from lastbit.scaled_operands import operand_names, packed_shape, scaling_of, stored, unpacked_shape
from lastbit.scaled_storage import held, of_operands, read
from lastbit.verify import verify

SWIZZLED = replace(Scaling.of("mxfp8_e4m3"), name="mxfp8_swizzled", scale_layout="swizzled-128x4")
GIVEN = "i8_affine_torch"


def kernel(op: str, scaling: object, contract: Contract | None = None, **formats: str) -> Kernel:
    formats = formats or {"x" if op == "quantize" else "out": "bf16"}
    return Kernel("mine/one", op, print, formats, contract or Contract(), scaling=scaling)


def test_words_of_the_contract_are_those_of_the_references() -> None:
    assert set(_RULES) == set(scalings.RULES)
    assert set(_ARITHMETICS) == set(scalings.ARITHMETICS) - {None}
    assert set(_ORDERS) == set(ORDERS)


@pytest.mark.parametrize(
    ("op", "scaling", "formats", "names"),
    [
        ("quantize", "nvfp4", {"x": "bf16", "out": "e2m1fn"}, ("x",)),
        (
            "quantize",
            GIVEN,
            {"x": "bf16", "scale": "f32", "zero_point": "i8", "out": "i8"},
            ("x", "scale", "zero_point"),
        ),
        (
            "dequantize",
            "nvfp4",
            {"codes": "e2m1fn", "scale": "e4m3fn", "global_scale": "f32", "out": "bf16"},
            ("codes", "scale", "global_scale"),
        ),
        (
            "dequantize",
            "i4_group32_zp",
            {"codes": "i4", "scale": "f32", "zero_point": "i4", "out": "bf16"},
            ("codes", "scale", "zero_point"),
        ),
    ],
)
def test_formats_and_operands_follow_from_the_scaling(
    op: str, scaling: str, formats: dict[str, str], names: tuple[str, ...]
) -> None:
    one = kernel(op, scaling)
    assert one.format_sets == (formats,)
    assert operand_names(one) == names


def test_results_are_codes_scale_and_the_rest_in_order() -> None:
    one = kernel("quantize", "nvfp4")
    shapes = {result.name: (result.shape, result.format) for result in results(one, one.format_sets[0], {"x": (3, 33)})}
    assert shapes == {"codes": ((3, 17), "u8"), "scale": ((3, 3), "e4m3fn"), "global_scale": ((), "f32")}
    assert [result.name for result in results(kernel("quantize", GIVEN), {"x": "f32"}, {"x": (3, 33)})] == ["codes"]
    back = kernel("dequantize", "i4_group32_zp")
    (out,) = results(back, back.format_sets[0], {"codes": (3, 16)})
    assert (out.name, out.shape, out.format) == ("out", (3, 32), "bf16")


@pytest.mark.parametrize(
    ("name", "shape", "codes", "scale"),
    [
        ("mxfp6_e3m2", (2, 33), ((2, 27), "u8"), ((2, 2), "e8m0fnu")),
        ("fp8_block128", (2, 130, 257), ((2, 130, 257), "e4m3fn"), ((2, 2, 3), "f32")),
        ("i8_column", (5, 7), ((5, 7), "i8"), ((1, 7), "f32")),
        ("i8_tensor", (5, 7), ((5, 7), "i8"), ((), "f32")),
        (SWIZZLED, (130, 96), ((130, 96), "e4m3fn"), ((1024,), "e8m0fnu")),
        (replace(Scaling.of("i4_group32"), packing="none"), (5, 7), ((5, 7), "i8"), ((5, 1), "f32")),
    ],
)
def test_arrays_have_the_declared_shape_and_format(name: object, shape: object, codes: object, scale: object) -> None:
    found = {part: (size, fmt) for part, size, fmt in stored(Scaling.of(name), shape)}  # type: ignore[arg-type]
    assert (found["codes"], found["scale"]) == (codes, scale)


def test_contract_takes_the_place_of_the_scaling() -> None:
    promise = Contract(
        scale_rule="ceil", scale_arithmetic="divide", output_rounding="stochastic", overflow="nan", nan="max"
    )
    found = scaling_of(kernel("quantize", "mxfp4", promise))
    assert (found.rule, found.arithmetic, found.rounding, found.overflow, found.nan) == (
        "ceil",
        "divide",
        "stochastic",
        "nan",
        "max",
    )
    assert scaling_of(kernel("quantize", "mxfp4")) == Scaling.of("mxfp4")
    # The order of a dequantizer's steps is none of how codes were found.
    back = kernel("dequantize", "nvfp4", Contract(scale_arithmetic="scales_first"))
    assert scaling_of(back).arithmetic == Scaling.of("nvfp4").arithmetic


def test_scaled_gemm_names_a_scaling_for_each_operand() -> None:
    both = Kernel(
        "mine/two",
        "scaled_gemm",
        print,
        {"a": "e4m3fn", "b": "i8", "out": "f32"},
        scaling={"a": "fp8_row", "b": "i8_row"},
    )
    assert [scaling_of(both, operand=name).name for name in "ab"] == ["fp8_row", "i8_row"]
    with pytest.raises(KernelError, match="scaling of c is None"):
        scaling_of(both, operand="c")


@pytest.mark.parametrize(
    ("op", "fields", "message"),
    [
        ("gemm", {"scaling": "fp8_row"}, "scaling is 'fp8_row', but gemm has none"),
        ("softmax", {"scaling": 3}, "scaling is 3, but softmax has none"),
        ("cast", {"scaling": "nonsense"}, "scaling is 'nonsense', but cast has none"),
        ("scaled_gemm", {"scaling": {"a": "fp8_row", "c": "zzz"}}, "scaling names 'a', 'c', expected 'a' and 'b'"),
        ("gemm", {"contract": Contract(scale_rule="ceil")}, "scale_rule 'ceil' .*, but gemm makes no scales"),
        (
            "quantize",
            {"scaling": "mxfp4", "contract": Contract(output_rounding="to-odd")},
            "output_rounding is 'to-odd', which no quantizer is judged by",
        ),
        ("quantize", {"scaling": {"x": "mxfp4"}}, "scaling is {'x': 'mxfp4'}, expected a Scaling or the name of one"),
        (
            "quantize",
            {"scaling": "i8_row", "contract": Contract(scale_rule="floor")},
            "scale_rule 'floor' gives powers of two, but scaling i8_row stores quotients in f32",
        ),
        (
            "quantize",
            {"scaling": "i8_row", "contract": Contract(scale_rule="affine_min_max")},
            "scale_rule 'affine_min_max' makes zero points, but scaling i8_row stores none",
        ),
    ],
)
def test_field_that_an_op_does_not_have_is_refused(op: str, fields: dict[str, Any], message: str) -> None:
    formats = {"a": "f32", "b": "f32", "x": "f32", "out": "f32"}
    with pytest.raises(KernelError, match=message):
        _ = Kernel("mine/odd", op, print, formats, **fields).format_sets


@pytest.mark.parametrize("fmt", ["i8", "u8", "i4", "u4", "i32", "nf4", "e8m0fnu"])
@pytest.mark.parametrize(("op", "operand"), [("quantize", "x"), ("dequantize", "out")])
def test_plain_side_of_a_quantizer_is_of_floating_point_numbers(op: str, operand: str, fmt: str) -> None:
    message = f"{operand} of {op} is {fmt}, expected a floating-point format, one of bf16, .*, f16, f32, f64"
    with pytest.raises(KernelError, match=message):
        kernel(op, "mxfp8_e4m3", **{operand: fmt})


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("mxfp4", {"element": "bf16"}, "element is bf16, expected a format of at most 8 bits"),
        ("mxfp4", {"element": "e4m3fn"}, "packing 'nibbles_low_first' is of 4 bits, but e4m3fn has 8"),
        ("mxfp6_e3m2", {"element": "e2m1fn"}, "packing 'six_bit_little_endian' is of 6 bits, but e2m1fn has 4"),
        ("nvfp4", {"rule": "floor"}, "floor makes no scale of the tensor"),
    ],
)
def test_scaling_that_contradicts_itself_is_refused(name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ScalingError, match=message):
        replace(Scaling.of(name), **changed)


def test_formats_that_are_missing_are_those_of_the_op() -> None:
    with pytest.raises(KernelError, match=r"give formats=\{'x': 'f32'\}"):
        verify(print, op="quantize", scaling="mxfp4")


@pytest.mark.parametrize(
    ("scaling", "formats", "message"),
    [
        (None, {"x": "f32"}, "quantize needs a scaling"),
        ("mxfp5", {"x": "f32"}, "there is no scaling 'mxfp5'; did you mean "),
        (17, {"x": "f32"}, "scaling is 17, expected a Scaling or the name of one"),
        ("mxfp4", {"x": "f32", "out": "i8"}, "formats say that out is i8, but scaling mxfp4 has e2m1fn"),
        ("mxfp4", {"y": "f32"}, "lack x"),
    ],
)
def test_kernel_whose_scaling_does_not_fit_is_refused(scaling: object, formats: dict[str, str], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        _ = kernel("quantize", scaling, **formats).format_sets


def test_scaling_is_not_looked_at_before_it_is_needed() -> None:
    """A kernel file is imported in every run of its repository: without numpy until something is judged."""
    program = (
        "import sys; sys.modules['numpy'] = None; import lastbit\n"
        "lastbit.Kernel('mine/q', 'quantize', print, {'x': 'f32'}, scaling='mxfp5')\n"
    )
    import lastbit

    path = str(lastbit.__path__[0]).rpartition("/")[0]
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path})


@given(
    st.sampled_from([*map(Scaling.of, Scaling.names()), SWIZZLED]),
    st.integers(1, 140),
    st.integers(1, 5),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_what_is_stored_is_read_back(scaling: Scaling, m: int, groups: int, seed: int) -> None:
    n = groups * (scaling.group or 31) + (3 if scaling.packing != "nibbles_halves" else 0)
    tensor = quantized("random_codes", "f32", scaling, {"m": m, "n": n}, seed)
    arrays = held(tensor, scaling)
    shapes = {name: (array.codes.shape, array.format) for name, array in arrays.items()}
    assert shapes == {name: (shape, fmt) for name, shape, fmt in stored(scaling, (m, n))}
    back = of_operands(arrays, scaling, (m, n))
    for name in arrays:
        assert np.array_equal(getattr(back, name), getattr(tensor, name))
    whole = unpacked_shape(scaling, packed_shape(scaling, (m, n)))
    assert whole[0] == m
    assert n <= whole[1] < n + 4


def test_bits_beyond_a_code_are_found() -> None:
    bytes_of = replace(Scaling.of("mxfp4"), packing="none")
    codes = np.zeros((2, 32), np.uint8)
    codes[1, 3] = 0x1F
    found, strange = read([codes, np.zeros((2, 1), np.uint8)], bytes_of, (2, 32))
    assert found is None
    assert strange == "codes at (1, 3) is 0x1f, which is no code of e2m1fn"
    signed = replace(Scaling.of("i4_group32"), packing="none")
    codes[1, 3] = 0x0F  # 15, where -1 is 0xff
    assert read([codes, np.zeros((2, 1), np.uint32)], signed, (2, 32))[1].endswith("no code of i4")


def test_padding_of_swizzled_scales_is_zero() -> None:
    codes, scale = np.zeros((3, 64), np.uint8), np.zeros(512, np.uint8)
    assert read([codes, scale], SWIZZLED, (3, 64))[1] == ""
    scale[500] = 1
    assert read([codes, scale], SWIZZLED, (3, 64)) == (None, "the padding of the swizzled scales is not zero")


@pytest.mark.parametrize("name", ["mxfp4", "nf4", "mxfp6_e3m2"])
def test_codes_that_fill_up_a_unit_are_zero(name: str) -> None:
    scaling = Scaling.of(name)
    tensor = quantized("random_codes", "f32", scaling, {"m": 3, "n": 65}, 0)
    arrays = [array.codes for array in held(tensor, scaling).values()]
    assert read(arrays, scaling, (3, 65))[1] == ""
    spoiled = arrays[0].copy()
    spoiled[2, -1] ^= 0x01 if name == "nf4" else 0x80
    found, strange = read([spoiled, *arrays[1:]], scaling, (3, 65))
    assert found is None
    assert strange.startswith("the codes that fill up the last ")
