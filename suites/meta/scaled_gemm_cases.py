"""Elements of scaled GEMM at every place where a term of its budget begins, ends or is rounded."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan

from scaled_gemm_formulas import Element

from lastbit.contract import Contract
from lastbit.references.accumulators import Accumulator

HOPPER, BLACKWELL = (Accumulator.of(device, "e4m3fn") for device in ("h100", "b200"))
CODES = {"a": [3.5, -2.0, 0.0, 7.0, 1.25, -0.5], "b": [1.5, 6.0, -3.0, 0.625, -2.5, 4.0]}
ONE = Element(**CODES, scale_a=[1.312744140625], scale_b=[-0.6875])
GROUPS = Element(**CODES, scale_a=[1.312744140625, 0.5, 3.125], scale_b=[-0.6875, 2.25, 0.875], run=2)
POWERS = Element(**CODES, scale_a=[2.0, 0.5, 4.0], scale_b=[8.0, 2.0, 0.25], run=2, names=("e8m0fnu", "e8m0fnu"))
PLAIN = Element(**CODES, scale_a=[1.0], scale_b=[1.0], names=(None, None))
MIXED = Element(**CODES, scale_a=[1.0], scale_b=[1.6875], names=(None, "f32"))
NARROW = Element(**CODES, scale_a=[1.5, 0.875, 2.0], scale_b=[3.25, 1.0, 0.5], run=2, names=("e4m3fn", "e4m3fn"))
WHOLE = Element([100.0, -90, 27], [3.0, 77, -128], scale_a=[1.3125], scale_b=[0.6875])
LONG = Element([2.0**12, 3.0, 2.0**12], [2.0**12, -5.0, 1.0], scale_a=[1.3125], scale_b=[0.6875])
FULL = Element([2.0**12], [2.0**12 - 1], scale_a=[1.3125], scale_b=[0.6875])
HALVES = Element([2.5, 3.0], [1.0, 2.0], scale_a=[1.3125], scale_b=[0.6875])
HALF_OF_B = Element([2.0, 3.0], [1.0, 2.5], scale_a=[1.3125], scale_b=[0.6875])
SUBNORMAL_CODE = Element([2.0**-9, 448.0], [2.0**-8, 2.0**-7], scale_a=[1.5], scale_b=[4.0])


def cases() -> Iterator[tuple[str, Element, Contract, str]]:
    """A name, and of each case the element, the contract and the format of the output."""
    for name, one in {
        "one": ONE, "groups": GROUPS, "powers": POWERS, "plain": PLAIN, "mixed": MIXED, "narrow": NARROW,
        "subnormal": SUBNORMAL_CODE,
    }.items():  # fmt: skip
        for scaled in (None, "sums", "operands"):
            for acc in ("f32", "f64", "bf16", "exact"):
                yield f"{name}-{scaled}-{acc}", one, Contract(accumulator=acc, scaled=scaled), "f64"
        for rounding in ("bf16", "tf32", "bf16x3"):
            for scaled in ("sums", "operands"):
                contract = Contract(accumulator="f32", scaled=scaled, input_rounding=rounding)
                yield f"{name}-{scaled}-{rounding}", one, contract, "f64"
        for engine in (HOPPER, BLACKWELL):
            for scaled in (None, "sums", "products"):
                yield f"{name}-{scaled}-{engine.name}", one, Contract(accumulator=engine, scaled=scaled), "f32"
    for name, one in {
        "whole": WHOLE, "long": LONG, "full": FULL, "halves": HALVES, "half of b": HALF_OF_B, "plain": PLAIN,
        "long-plain": replace(LONG, names=(None, None), scale_a=[1.0], scale_b=[1.0]),
        "full-plain": replace(FULL, names=(None, None), scale_a=[1.0], scale_b=[1.0]),
        "one side": replace(LONG, names=("f32", None), scale_b=[1.0]),
        "other side": replace(LONG, names=(None, "f32"), scale_a=[1.0]),
    }.items():  # fmt: skip
        yield f"{name}-i32", one, Contract(accumulator="i32"), "f32"
        yield f"{name}-i32-bias", replace(one, bias=2.5), Contract(accumulator="i32"), "f32"
        yield f"{name}-i32-i32", one, Contract(accumulator="i32"), "i32"
    for factor in (0.0, 1.0, 2.0, -2.0, 3.0, 0.3, 2.0**-60, 2.0**60, 2.0**-61, 2.0**61, 1.3 * 2.0**-60, 1.3 * 2.0**60,
                   -1.5 * 2.0**70, 2.0**-130, 2.0**-126, 2.0**-120, 1.5 * 2.0**-127, inf, nan):  # fmt: skip
        for flush in ("keep", "flush"):
            for bias in (None, 5.0):
                for acc in ("f32", "exact"):
                    contract = Contract(accumulator=acc, subnormals=flush, scaled=None if bias else "sums")
                    yield (
                        f"global {factor}-{bias}-{flush}-{acc}",
                        replace(ONE, global_scale=factor, bias=bias),
                        contract,
                        "f64",
                    )
        yield (
            f"global {factor}-operands",
            replace(POWERS, global_scale=factor),
            Contract(accumulator="f32", scaled="operands"),
            "f64",
        )
        yield f"global {factor}-engine", replace(NARROW, global_scale=factor), Contract(accumulator=HOPPER), "f32"
    for bias in (0.0, 3.0, -4.0):
        for scaled in ("sums", "operands", None):
            for acc in ("f32", "exact", HOPPER):
                if scaled != "operands" or acc != HOPPER:
                    contract = Contract(accumulator=acc, scaled=scaled)
                    yield f"bias {bias}-{scaled}-{acc}", replace(GROUPS, bias=bias), contract, "f64"
    for exponents in (
        (-126, 0),
        (-127, 0),
        (-63, -63),
        (-63, -64),
        (-140, 20),
        (-149, 100),
        (60, 66),
        (0, 127),
        (64, 60),
    ):
        low = Element([1.5, -2.0], [1.0, 1.0], [1.5 * 2.0 ** exponents[0]], [1.25 * 2.0 ** exponents[1]])
        for flush in ("keep", "flush"):
            contract = Contract(accumulator="f32", scaled="sums", subnormals=flush)
            yield f"scales {exponents}-{flush}", low, contract, "f64"
            yield f"scales {exponents}-{flush}-e8m0", replace(low, names=("e8m0fnu", None)), contract, "f64"
            yield f"scales {exponents}-{flush}-turned", Element(low.b, low.a, low.scale_b, low.scale_a), contract, "f64"
    for powers in ((127, -20), (-20, 127), (100, -100), (123, 0), (124, 0), (0, 123), (0, 124)):
        for codes in ([1.0], [0.25], [3.0]):
            for acc, scaled in (("f32", "sums"), ("f32", None), (HOPPER, None)):
                far = Element(codes, [1.0], [2.0 ** powers[0]], [2.0 ** powers[1]])
                yield f"far {powers}-{codes}-{scaled}-{acc}", far, Contract(accumulator=acc, scaled=scaled), "f64"
                for factor in (2.0**-100, -(2.0**-120)):
                    one = replace(far, global_scale=factor)
                    yield (
                        f"far {powers}-{codes}-{scaled}-{acc}-{factor}",
                        one,
                        Contract(accumulator=acc, scaled=scaled),
                        "f64",
                    )
    for shift in (-80, -70, -60, -50):
        for engine in (HOPPER, BLACKWELL):
            one = replace(NARROW, scale_a=[2.0**shift] * 3, scale_b=[1.5 * 2.0**shift] * 3)
            yield f"tiny {shift}-{engine.name}", one, Contract(accumulator=engine, scaled="products"), "f64"
    top = Element([1.0, 0.0], [1.0, 0.0], [2.0**128 - 3 * 2.0**104], [2.0**-20])
    ends = [replace(top, scale_a=[2.0**128 - steps * 2.0**104]) for steps in (4, 5, 6)]
    small = Element([1.0], [2.0**-9], [2.0**-60], [2.0**-60])
    for one in (top, *ends, small, Element([7e4], [1.0], [1.0], [1.0])):
        for rounding in (None, "f16"):
            contract = Contract(accumulator="f32", scaled="sums", input_rounding=rounding)
            yield f"top {one.scale_a}-{one.a}-{rounding}", one, contract, "f64"
    pair = replace(GROUPS, a=[1.0, 3.0, -2.0, 5.0], b=[1.5, 2.0, 7.0, -1.0])
    yield "pair", pair, Contract(accumulator="f32", scaled="sums"), "f64"
    yield "two bits", replace(pair, names=("p3109_4p2sf", "e8m0fnu")), Contract(accumulator="f32", scaled="sums"), "f64"
    for low in (2.0**-126, 2.0**-127, -(2.0**-127)):
        for factor in (1.0, -1.5, -(2.0**-130)):
            one = Element([1.5, -2.0], [1.0, -1.0], [low], [-0.75], global_scale=factor)
            contract = Contract(accumulator="f32", scaled="sums", subnormals="flush")
            yield f"low {low}-{factor}", one, contract, "f64"
            yield (
                f"low {low}-{factor}-turned",
                Element(one.b, one.a, one.scale_b, one.scale_a, global_scale=factor),
                contract,
                "f64",
            )


CASES = {name: rest for name, *rest in cases()}
