"""Codes packed into bytes (two of 4 bits, four of 6 bits in three), and scales in the 128 x 4 order of tensor cores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

#: Numbers that share whole bytes.
UNIT = {
    "none": 1,
    "nibbles_low_first": 2,
    "nibbles_high_first": 2,
    "nibbles_halves": 2,
    "six_bit_little_endian": 4,
}


class PackingError(ValueError):
    """Codes cannot be packed, or bytes unpacked, as asked."""


def pack(codes: NDArray[Any], packing: str, group: int = 0) -> NDArray[Any]:
    """Codes (.., n) packed along the last axis, short units filled up with zeros.

    - "nibbles_low_first": number 2i in the low half of byte i, 2i + 1 in the high half (OCP MX, CUDA, torch).
    - "nibbles_high_first": the other way round (bitsandbytes).
    - "nibbles_halves": of each `group`, number i in the low and number i + group/2 in the high half of byte i (gguf).
    - "six_bit_little_endian": number i of four takes bits 6i to 6i + 5 of a 24-bit little-endian word.

    Raises PackingError for an unknown packing, a code that is too wide, or halves of a group that does not divide n.
    """
    unit = _unit(packing)
    if packing == "none":
        return codes
    width = 6 if packing == "six_bit_little_endian" else 4
    if codes.size and int(codes.max()) >> width:
        raise PackingError(f"code {int(codes.max()):#x} has more than {width} bits")
    whole = _filled(codes.astype(np.uint8), unit)
    if packing == "nibbles_halves":
        low, high = _halves(whole, group)
        return (low | high << 4).reshape(*whole.shape[:-1], whole.shape[-1] // 2)
    parts = whole.reshape(*whole.shape[:-1], whole.shape[-1] // unit, unit)
    if unit == 2:
        first, second = parts[..., 0], parts[..., 1]
        return first | second << 4 if packing == "nibbles_low_first" else first << 4 | second
    a, b, c, d = (parts[..., i] for i in range(4))
    packed = np.stack((a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2), axis=-1)
    return packed.reshape(*whole.shape[:-1], whole.shape[-1] // 4 * 3)


def unpack(data: Bytes, packing: str, n: int, group: int = 0) -> NDArray[Any]:
    """The first `n` codes of each row of what `pack` gives.

    Raises PackingError for an unknown packing, or when the bytes do not hold n codes and no more than a unit.
    """
    unit = _unit(packing)
    if packing == "none":
        return data[..., :n]
    size = -(-n // unit) * (3 if unit == 4 else 1)
    if data.shape[-1] != size:
        raise PackingError(f"{n} codes, {packing}, take {size} bytes, but there are {data.shape[-1]}")
    if unit == 4:
        p, q, r = (data.reshape(*data.shape[:-1], size // 3, 3)[..., i] for i in range(3))
        parts = [p & 63, p >> 6 | (q & 15) << 2, q >> 4 | (r & 3) << 4, r >> 2]
    else:
        parts = [data & 15, data >> 4]
        if packing == "nibbles_high_first":
            parts.reverse()
        if packing == "nibbles_halves":
            blocks = [part.reshape(*data.shape[:-1], 2 * size // group, group // 2) for part in parts]
            return np.concatenate(blocks, axis=-1).reshape(*data.shape[:-1], 2 * size)[..., :n]
    whole = np.stack(parts, axis=-1)
    return whole.reshape(*data.shape[:-1], whole.shape[-2] * unit)[..., :n]


def swizzled(scales: NDArray[Any]) -> NDArray[Any]:
    """A matrix of 8-bit scales (m, k) in the order that tensor cores read, one row of bytes; padding is 0.

    Tiles of 128 rows and 4 columns, row-major; inside one, the scale of row r, column c is byte
    (r mod 32) * 16 + (r div 32) * 4 + c. Source: cuBLAS documentation, 1D block scaling factors layout.
    """
    return _tiles(scales).transpose(0, 3, 2, 1, 4).reshape(-1)


def unswizzled(data: NDArray[Any], m: int, k: int) -> NDArray[Any]:
    """The (m, k) matrix of what `swizzled` gives.

    Raises PackingError when the number of bytes is not that of an (m, k) matrix.
    """
    rows, columns = -(-m // 128), -(-k // 4)
    if data.size != rows * columns * 512:
        raise PackingError(f"scales ({m}, {k}) take {rows * columns * 512} bytes, but there are {data.size}")
    tiles = data.reshape(rows, columns, 32, 4, 4).transpose(0, 3, 2, 1, 4)
    return tiles.reshape(rows * 128, columns * 4)[:m, :k]


def _tiles(scales: NDArray[Any]) -> NDArray[Any]:
    """(row tiles, 4, 32, column tiles, 4), zeros where there is no scale."""
    m, k = scales.shape
    whole = np.zeros((-(-m // 128) * 128, -(-k // 4) * 4), scales.dtype)
    whole[:m, :k] = scales
    return whole.reshape(-1, 4, 32, whole.shape[1] // 4, 4)


def _unit(packing: str) -> int:
    if packing not in UNIT:
        raise PackingError(f"packing is {packing!r}, expected one of {', '.join(UNIT)}")
    return UNIT[packing]


def _filled(codes: Bytes, unit: int) -> Bytes:
    """`codes` with zeros up to a whole unit in each row."""
    missing = -codes.shape[-1] % unit
    return np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, missing)]) if missing else codes


def _halves(codes: Bytes, group: int) -> tuple[Bytes, Bytes]:
    if group < 2 or group % 2 or codes.shape[-1] % group:
        raise PackingError(
            f"halves of groups of {group} in rows of {codes.shape[-1]}: give an even group that divides them"
        )
    groups = codes.reshape(*codes.shape[:-1], codes.shape[-1] // group, group)
    return groups[..., : group // 2], groups[..., group // 2 :]
