"""Casts of f32 by integer arithmetic on its bits, in Triton: undecorated, triton_casts.py decorates them."""

import triton.language as tl


def cast(x: tl.tensor, out: tl.tensor, n: tl.tensor, seed: tl.tensor, BLOCK: tl.constexpr, TO: tl.constexpr) -> None:
    """Codes of n numbers, given as the bits of f32 in int32, into `out`, integers of the result's width.

    Grid: (blocks of BLOCK numbers). TO is "bf16", "bf16-stochastic" (16 random bits below the last place, by `seed`
    and the place of the number), or "e4m3fn" (to nearest even, saturating, infinities too).
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bits = tl.load(x + i, mask=i < n, other=0).to(tl.uint32, bitcast=True)
    size = bits & 0x7FFFFFFF
    if TO == "e4m3fn":
        field = size >> 23
        # The last place of e4m3fn is 20 bits above that of f32; more below its normal range, whose field is 121.
        shift = tl.minimum(20 + tl.maximum(121, field) - field, 25)
        whole = tl.where(field > 0, (size & 0x7FFFFF) | 0x800000, 0)
        half = tl.full((BLOCK,), 1, tl.uint32) << (shift - 1)
        rounded = (whole + half - 1 + ((whole >> shift) & 1)) >> shift
        # The hidden bit counts as one in the exponent field, which starts at 0 here.
        code = rounded + tl.where(field >= 121, (field - 121) << 3, 0)
        code = tl.where(code > 0x7E, 0x7E, code)
        code = tl.where(size > 0x7F800000, 0x7F, tl.where(size > 0x43E80000, 0x7E, code))
        tl.store(out + i, (code | ((bits >> 24) & 0x80)).to(tl.uint8), mask=i < n)
    else:
        if TO == "bf16":  # noqa: SIM108
            added = 0x7FFF + ((bits >> 16) & 1)
        else:
            added = tl.randint(seed, i).to(tl.uint32, bitcast=True) & 0xFFFF
        # Nothing is added to infinities, and NaN is made quiet.
        found = tl.where(size < 0x7F800000, bits + added, tl.where(size == 0x7F800000, bits, bits | 0x400000))
        tl.store(out + i, (found >> 16).to(tl.uint16), mask=i < n)
