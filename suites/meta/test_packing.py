"""Packed codes and swizzled scales: every code at every place, by the layouts' own definitions, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastbit.references.packing import UNIT, PackingError, pack, swizzled, unpack, unswizzled

#: The bits of the number at each place, lowest first, written out from the definition.
NIBBLE = {"nibbles_low_first": (0, 1), "nibbles_high_first": (1, 0)}


def bits(data: np.ndarray) -> list[int]:
    """The bits of a row of bytes, lowest of the first byte first."""
    return [int(byte) >> i & 1 for byte in data for i in range(8)]


def number(found: list[int]) -> int:
    return sum(bit << i for i, bit in enumerate(found))


@pytest.mark.parametrize("packing", NIBBLE)
def test_a_nibble_is_where_the_name_says(packing: str) -> None:
    for place in range(4):
        for code in range(16):
            codes = np.full(4, 5, np.uint8)
            codes[place] = code
            row = bits(pack(codes, packing))
            at = 8 * (place // 2) + 4 * NIBBLE[packing][place % 2]
            assert number(row[at : at + 4]) == code
            codes[place] = 5
            row[at : at + 4] = bits(np.array([5]))[:4]
            assert row == bits(pack(codes, packing))


def test_halves_put_the_second_half_of_a_group_high() -> None:
    codes = np.arange(64, dtype=np.uint8) % 16
    packed = pack(codes, "nibbles_halves", 32)
    for i in range(32):
        group, inside = divmod(i, 16)
        assert packed[i] == codes[32 * group + inside] | codes[32 * group + 16 + inside] << 4


def test_every_six_bit_code_at_every_place() -> None:
    for place in range(8):
        for code in range(64):
            codes = np.full(8, 42, np.uint8)
            codes[place] = code
            row = bits(pack(codes, "six_bit_little_endian"))
            assert len(row) == 48
            assert [number(row[6 * i : 6 * i + 6]) for i in range(8)] == codes.tolist()


@pytest.mark.parametrize("packing", UNIT)
@settings(max_examples=30)
@given(rows=st.integers(0, 3), groups=st.integers(0, 4), odd=st.integers(0, 7), seed=st.integers(0, 2**32))
def test_unpack_undoes_pack(packing: str, rows: int, groups: int, odd: int, seed: int) -> None:
    n = 8 * groups if packing == "nibbles_halves" else 8 * groups + odd
    width = {1: 256, 2: 16, 4: 64}[UNIT[packing]]
    codes = np.random.default_rng(seed).integers(0, width, (rows, n)).astype(np.uint8)
    packed = pack(codes, packing, 8)
    assert packed.shape == (rows, -(-n // UNIT[packing]) * (3 if UNIT[packing] == 4 else 1))
    assert np.array_equal(unpack(packed, packing, n, 8), codes)


@settings(max_examples=40)
@given(m=st.integers(1, 300), k=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_swizzled_scales_are_where_cublas_reads_them(m: int, k: int, seed: int) -> None:
    scales = np.random.default_rng(seed).integers(1, 256, (m, k)).astype(np.uint8)
    data = swizzled(scales)
    across = -(-k // 4)
    assert data.size == -(-m // 128) * across * 512
    rng = np.random.default_rng(seed)
    for _ in range(30):
        r, c = int(rng.integers(m)), int(rng.integers(k))
        tile = r // 128 * across + c // 4
        assert data[tile * 512 + r % 32 * 16 + r % 128 // 32 * 4 + c % 4] == scales[r, c]
    assert int((data != 0).sum()) == m * k
    assert np.array_equal(unswizzled(data, m, k), scales)


def test_the_two_nibble_orders_and_a_forgotten_swizzle_are_told_apart() -> None:
    codes = np.arange(16, dtype=np.uint8)
    assert not np.array_equal(pack(codes, "nibbles_low_first"), pack(codes, "nibbles_high_first"))
    assert not np.array_equal(unpack(pack(codes, "nibbles_low_first"), "nibbles_high_first", 16), codes)
    scales = np.arange(1, 129, dtype=np.uint8).reshape(32, 4)
    assert not np.array_equal(swizzled(scales)[:128], scales.reshape(-1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PackingError, match="more than 4 bits"):
        pack(np.array([16], np.uint8), "nibbles_low_first")
    with pytest.raises(PackingError, match="expected one of"):
        pack(np.array([1], np.uint8), "nibbles")
    with pytest.raises(PackingError, match="take 2 bytes"):
        unpack(np.zeros(3, np.uint8), "nibbles_low_first", 3)
    with pytest.raises(PackingError, match="divides"):
        pack(np.zeros(33, np.uint8), "nibbles_halves", 32)
    with pytest.raises(PackingError, match="512 bytes"):
        unswizzled(np.zeros(4, np.uint8), 2, 2)
