"""Quantizers and dequantizers in Triton, undecorated: triton_quantize.py decorates them.

Numbers become codes by integer arithmetic on the bits of f32, and quotients are those of tl.div_rn: `/` of f32 is
approximate where Triton compiles, and casts to bf16 and FP8 are wrong where it interprets.
"""

import triton
import triton.language as tl


def _widened(raw: tl.tensor, SOURCE: tl.constexpr) -> tl.tensor:
    """Numbers in f32 of f32 or f16, or of the bits of bf16 in int16."""
    if SOURCE == "bf16":
        return (raw.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    return raw.to(tl.float32)


def _encoded(x: tl.tensor, MANTISSA: tl.constexpr, LEAST: tl.constexpr, MOST: tl.constexpr) -> tl.tensor:
    """Codes, in uint32, of f32 numbers: to nearest even, beyond the largest code MOST saturated.

    NaN has the code 0x7F, which is NaN in every format of 8 bits.
    LEAST is the exponent field that the smallest normal number of the format has in f32.
    """
    bits = x.to(tl.uint32, bitcast=True)
    size = bits & 0x7FFFFFFF
    field = size >> 23
    shift = tl.minimum(23 - MANTISSA + tl.maximum(LEAST, field) - field, 25)
    whole = tl.where(field > 0, (size & 0x7FFFFF) | 0x800000, 0)
    half = (whole - whole + 1) << (shift - 1)
    rounded = (whole + half - 1 + ((whole >> shift) & 1)) >> shift
    # The hidden bit counts as one in the exponent field, which starts at 0 here.
    code = rounded + tl.where(field >= LEAST, (field - LEAST) << MANTISSA, 0)
    code = tl.where(code > MOST, MOST, code)
    return tl.where(size > 0x7F800000, 0x7F, code)


def _decoded(code: tl.tensor, MANTISSA: tl.constexpr, BIAS: tl.constexpr, MOST: tl.constexpr) -> tl.tensor:
    """What codes without a sign, in uint32, are worth in f32; those above MOST are NaN."""
    # The code's exponent in the field of f32, and the difference of the biases multiplied on: subnormal codes, too.
    power = ((code - code) + (254 - BIAS)) << 23
    value = (code << (23 - MANTISSA)).to(tl.float32, bitcast=True) * power.to(tl.float32, bitcast=True)
    return tl.where(code > MOST, float("nan"), value)


widened, encoded, decoded = triton.jit(_widened), triton.jit(_encoded), triton.jit(_decoded)


def _scaled(
    bits: tl.tensor, amax: tl.tensor, RULE: tl.constexpr, LARGEST: tl.constexpr, BM: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Of the bits of BM groups' largest magnitudes: scales as they are stored, what x is divided by (multiplied by,
    unless RULE is "divide"), and the scale of the tensor, or what is no scale."""
    size = bits.to(tl.float32, bitcast=True)
    one = tl.full((BM,), 1.0, tl.float32)
    whole = one
    if RULE == "divide":
        factor = tl.div_rn(size, one * LARGEST)
        factor = tl.where((size == 0) | (factor == 0), 1.0, factor)
        stored = factor
    elif RULE == "floor":
        power = tl.maximum((bits >> 23) - LARGEST, 0)
        factor = ((254 - power) << 23).to(tl.float32, bitcast=True)
        factor = tl.where(bits > 0x7F800000, float("nan"), factor)
        stored = tl.where(bits > 0x7F800000, 255, power).to(tl.uint8)
    else:
        whole = tl.div_rn((tl.zeros((BM,), dtype=tl.int32) + tl.load(amax)).to(tl.float32, bitcast=True), one * 2688.0)
        ratio = tl.div_rn(tl.div_rn(size, one * LARGEST), whole)
        code = encoded(tl.where(ratio < 0.015625, 0.015625, ratio), 3, 121, 0x7E)
        factor = tl.div_rn(tl.div_rn(one, whole), decoded(code, 3, 7, 0x7E))
        stored = code.to(tl.uint8)
    return stored, factor, whole


def _code(
    number: tl.tensor,
    factor: tl.tensor,
    RULE: tl.constexpr,
    MANTISSA: tl.constexpr,
    LEAST: tl.constexpr,
    MOST: tl.constexpr,
    PACK: tl.constexpr,
) -> tl.tensor:
    """Codes, in uint32, of numbers of f32 that are divided or multiplied by `factor`."""
    if RULE == "divide":  # noqa: SIM108
        quotient = tl.div_rn(number, factor)
    else:
        quotient = number * factor
    if MANTISSA == 0:
        # Where 2^23 + 2^22 is added, the last place is that of one, and the low bits are those of the integer.
        near = tl.where(quotient > MOST, MOST, tl.where(quotient < -MOST, -MOST, quotient)) + 12582912.0
        code = near.to(tl.uint32, bitcast=True) & 0xFF
    else:
        sign = (number.to(tl.uint32, bitcast=True) >> 31) << (8 // PACK - 1)
        code = encoded(quotient, MANTISSA, LEAST, MOST)
        if PACK == 2:
            # There is no NaN: any code will do.
            code = code & MOST
        code = code | sign
    return code


scaled, coded = triton.jit(_scaled), triton.jit(_code)


def largest(x: tl.tensor, out: tl.tensor, n: tl.tensor, SOURCE: tl.constexpr, BLOCK: tl.constexpr) -> None:
    """The largest magnitude of each block of n numbers, as the bits of f32, into the int32 `out`; NaN is the largest.

    Grid: (blocks of BLOCK numbers).
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    bits = widened(tl.load(x + i, mask=i < n, other=0), SOURCE).to(tl.int32, bitcast=True) & 0x7FFFFFFF
    tl.store(out + tl.program_id(0), tl.max(bits, axis=0))


def quantize(
    x: tl.tensor,
    amax: tl.tensor,
    codes: tl.tensor,
    scale: tl.tensor,
    top: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    run: tl.tensor,
    x_b: tl.tensor,
    x_m: tl.tensor,
    x_n: tl.tensor,
    SOURCE: tl.constexpr,
    SCOPE: tl.constexpr,
    RULE: tl.constexpr,
    LARGEST: tl.constexpr,
    MANTISSA: tl.constexpr,
    LEAST: tl.constexpr,
    MOST: tl.constexpr,
    PACK: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
) -> None:
    """Codes and scales of x (batch, m, n), `run` numbers of each of BM rows; codes are packed PACK to a byte.

    SCOPE: numbers that share a scale are a "run" of a row, grid (tiles of BM runs, 1, batch); a "block" (all of a
    program's), or the "tensor", whose `amax` is given, grid (tiles of m, runs of n, batch). RULE: "divide",
    amax / LARGEST and x / scale in f32, a zero scale is 1; "floor", 2^(floor(log2 amax) - LARGEST) in e8m0; "nvfp4",
    e4m3 scales of at least 2^-6 under amax of the tensor / 2688, and x times the reciprocal of both. MANTISSA 0:
    integers of 8 bits.
    """
    slot = tl.program_id(0) * BM + tl.arange(0, BM)
    batch = tl.program_id(2).to(tl.int64)
    if SCOPE == "run":
        runs = tl.cdiv(n, run)
        rows, start = slot // runs, slot % runs * run
    else:
        rows, start = slot, slot * 0 + tl.program_id(1) * run
    stop = tl.minimum(start + run, n)
    tall, wide = rows[:, None].to(tl.int64), start[:, None].to(tl.int64)
    x += batch * x_b + tall * x_m
    codes += (batch * m + tall) * tl.cdiv(n, PACK)
    bits = tl.zeros((BM,), dtype=tl.int32)
    if SCOPE == "tensor":
        bits += tl.load(amax)
    else:
        for first in range(0, run, BN * PACK):
            for half in tl.static_range(PACK):
                column = wide + (first + tl.arange(0, BN) * PACK + half)[None, :]
                inside = (tall < m) & (column < stop[:, None])
                number = widened(tl.load(x + column * x_n, mask=inside, other=0), SOURCE)
                bits = tl.maximum(bits, tl.max(number.to(tl.int32, bitcast=True) & 0x7FFFFFFF, axis=1))
    if SCOPE == "block":
        bits = tl.zeros((BM,), dtype=tl.int32) + tl.max(bits, axis=0)

    stored, factor, whole = scaled(bits, amax, RULE, LARGEST, BM)
    if RULE == "nvfp4":
        tl.store(top + slot, whole, mask=slot == 0)
    if SCOPE == "run":
        tl.store(scale + batch * m * tl.cdiv(n, run) + slot, stored, mask=rows < m)
    elif SCOPE == "block":
        place = (batch * tl.num_programs(0) + tl.program_id(0)) * tl.num_programs(1) + tl.program_id(1)
        tl.store(scale + place + tl.arange(0, BM), stored, mask=tl.arange(0, BM) == 0)
    else:
        tl.store(scale + slot, stored, mask=slot + tl.program_id(2) == 0)

    factors = factor[:, None] + tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, run, BN * PACK):
        packed = tl.zeros((BM, BN), dtype=tl.uint32)
        for half in tl.static_range(PACK):
            column = wide + (first + tl.arange(0, BN) * PACK + half)[None, :]
            inside = (tall < m) & (column < stop[:, None])
            number = widened(tl.load(x + column * x_n, mask=inside, other=0), SOURCE)
            code = coded(number, factors, RULE, MANTISSA, LEAST, MOST, PACK)
            packed = packed | tl.where(inside, code, 0) << (4 * half)
        column = wide // PACK + (first // PACK + tl.arange(0, BN))[None, :]
        inside = (tall < m) & (column < tl.cdiv(stop, PACK)[:, None])
        tl.store(codes + column, packed.to(tl.uint8), mask=inside)


def dequantize(
    codes: tl.tensor,
    scale: tl.tensor,
    top: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    run: tl.tensor,
    rows_run: tl.tensor,
    c_b: tl.tensor,
    c_m: tl.tensor,
    c_n: tl.tensor,
    s_b: tl.tensor,
    s_m: tl.tensor,
    s_n: tl.tensor,
    SCALE: tl.constexpr,
    MANTISSA: tl.constexpr,
    BIAS: tl.constexpr,
    MOST: tl.constexpr,
    PACK: tl.constexpr,
    OUT: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
) -> None:
    """What BM x BN bytes of codes (batch, m, n / PACK) are worth: code * scale * top in f32, then rounded to OUT.

    Grid: (tiles of m, tiles of bytes, batch). `run` numbers of `rows_run` rows have one scale; SCALE: "f32", or bytes
    of "e8m0" or "e4m3". `top` is read where scales are e4m3.
    """
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    batch = tl.program_id(2).to(tl.int64)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    inside = (rows[:, None] < m) & (column[None, :] * PACK < n)
    place = batch * c_b + rows[:, None].to(tl.int64) * c_m + column[None, :].to(tl.int64) * c_n
    byte = tl.load(codes + place, mask=inside, other=0).to(tl.uint32)
    for half in tl.static_range(PACK):
        number = column * PACK + half
        place = (
            batch * s_b + (rows // rows_run)[:, None].to(tl.int64) * s_m + (number // run)[None, :].to(tl.int64) * s_n
        )
        held = tl.load(scale + place, mask=inside & (number[None, :] < n), other=0)
        if SCALE == "f32":
            factor = held
        elif SCALE == "e8m0":
            power = held.to(tl.uint32)
            # 2^-127 is subnormal in f32.
            factor = tl.where(power == 0, 0x400000, power << 23).to(tl.float32, bitcast=True)
            factor = tl.where(power == 255, float("nan"), factor)
        else:
            sign = (held.to(tl.uint32) & 0x80) << 24
            factor = decoded(held.to(tl.uint32) & 0x7F, 3, 7, 0x7E)
            factor = (factor.to(tl.uint32, bitcast=True) | sign).to(tl.float32, bitcast=True)
        if MANTISSA == 0:
            value = byte.to(tl.int8).to(tl.float32)
        else:
            code = byte >> (4 * half) if PACK == 2 else byte
            negative = ((code >> (8 // PACK - 1)) & 1) << 31
            value = decoded(code & ((1 << (8 // PACK - 1)) - 1), MANTISSA, BIAS, MOST)
            if MANTISSA == 2:
                value = tl.where((code & 0x7F) == 0x7C, float("inf"), value)
            value = (value.to(tl.uint32, bitcast=True) | negative).to(tl.float32, bitcast=True)
        value = value * factor
        if SCALE == "e4m3":
            value = value * tl.load(top)
        place = (batch * m + rows[:, None].to(tl.int64)) * n + number[None, :]
        mask = inside & (number[None, :] < n)
        if OUT == "bf16":
            bits = value.to(tl.uint32, bitcast=True)
            near = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            near = tl.where((bits & 0x7FFFFFFF) > 0x7F800000, 0x7FC0, near)
            tl.store(out + place, near.to(tl.uint16), mask=mask)
        else:
            tl.store(out + place, value.to(out.dtype.element_ty), mask=mask)
