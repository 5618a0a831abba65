"""Parameters of matrix engines as data: one row a device and input format, each with where it is published."""

from dataclasses import dataclass

MMA_SIM = "microsoft/MMA-Sim c785138, simulator/{}.py"
KM = "Khattak and Mikaitis, ACM TACO, doi 10.1145/3830409; MATLAB-tensor-core b12b5a7, models/{}.m"


@dataclass(frozen=True, slots=True)
class Engine:
    """How one device adds products of one input format; the fields are those of Accumulator."""

    engine: str
    terms: int
    fraction_bits: int = 0
    #: Significand bits of the carried sum and of the result.
    precision: int = 24
    rounding: str = "toward-zero"
    #: Smallest exponent that terms are aligned to.
    floor: int = -300
    order: str = "sequential"
    width: int = 0
    flush: bool = False
    interleaved: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """What a matrix engine reads of an input format."""

    #: Exponent of the smallest normal number: the exponent field of subnormals.
    emin: int
    #: Significand bits that are read of a wider operand; 0: the operand is what it is.
    precision: int = 0


INPUTS = {
    "f16": Input(-14),
    "bf16": Input(-126),
    "tf32": Input(-126, 11),
    "e4m3fn": Input(-6),
    "e5m2": Input(-14),
    "e4m3fnuz": Input(-7),
    "e5m2fnuz": Input(-15),
}


def _nvidia(terms: int, bits: int, floor: int, model: str, precision: int = 24) -> Engine:
    source = f"{MMA_SIM.format('nv_ptx')}; {KM.format(model)}"
    return Engine("fused", terms, bits, precision, floor=floor, source=source)


def _amd(engine: str, terms: int, model: str, *, flush: bool = False, interleaved: bool = False) -> Engine:
    source = f"{MMA_SIM.format('amd')}; {KM.format(model)}"
    if engine == "chain":
        return Engine(engine, 1, rounding="nearest-even", order="tree-blocks", width=terms, flush=flush, source=source)
    return Engine(engine, terms, 24, rounding="nearest-even", interleaved=interleaved, source=source)


#: V100 aligns to any exponent; Ampere and Ada not below 2^-132, Hopper and Blackwell not below 2^-133 (Khattak and
#: Mikaitis, min_exp_limit; MMA-Sim has -126 for a zero addend: they differ only in results that are subnormal in f32).
_AMPERE16 = _nvidia(8, 24, -132, "A100TC")
_AMPERE32 = _nvidia(4, 24, -132, "A100TC")
_ADA8 = _nvidia(16, 13, -132, "AdaTC", precision=14)
_HOPPER16 = _nvidia(16, 25, -133, "H100TC")
_HOPPER32 = _nvidia(8, 25, -133, "H100TC")
_HOPPER8 = _nvidia(32, 13, -133, "H100TC", precision=14)
_BLACKWELL16 = _nvidia(16, 25, -133, "B200TC")
_BLACKWELL32 = _nvidia(8, 25, -133, "B200TC")
_BLACKWELL8 = _nvidia(32, 25, -133, "B200TC")
_CDNA2 = _amd("chain", 4, "MI210MC", flush=True)
_CDNA3_16 = _amd("cdna3", 8, "MI300XMC")
_CDNA3_8 = _amd("cdna3", 16, "MI300XMC", interleaved=True)

_AMPERES = ("a100", "a30", "a2", "ada", "l40s")
_HOPPERS, _BLACKWELLS = ("h100", "h200"), ("b200", "rtxpro6000")
_HALVES, _FP8 = ("f16", "bf16"), ("e4m3fn", "e5m2")


def _rows(devices: tuple[str, ...], formats: tuple[str, ...], engine: Engine) -> dict[tuple[str, str], Engine]:
    return {(device, fmt): engine for device in devices for fmt in formats}


#: mi100: the sources disagree (MMA-Sim: pairwise f32; Khattak and Mikaitis: exact, then rounded); this is MMA-Sim's.
#: mi210, mi250 bf16: the `_1k` instructions; the older ones add 2 products at a time.
ENGINES: dict[tuple[str, str], Engine] = {
    ("v100", "f16"): _nvidia(4, 23, -300, "V100TC"),
    **_rows(_AMPERES, _HALVES, _AMPERE16),
    **_rows(_AMPERES, ("tf32",), _AMPERE32),
    **_rows(("ada", "l40s"), _FP8, _ADA8),
    **_rows(_HOPPERS, _HALVES, _HOPPER16),
    **_rows(_HOPPERS, ("tf32",), _HOPPER32),
    **_rows(_HOPPERS, _FP8, _HOPPER8),
    **_rows(_BLACKWELLS, _HALVES, _BLACKWELL16),
    **_rows(_BLACKWELLS, ("tf32",), _BLACKWELL32),
    **_rows(_BLACKWELLS, _FP8, _BLACKWELL8),
    ("mi100", "f16"): _amd("chain", 4, "MI100MC"),
    ("mi100", "bf16"): _amd("chain", 2, "MI100MC"),
    **_rows(("mi210", "mi250"), _HALVES, _CDNA2),
    **_rows(("mi300",), _HALVES, _CDNA3_16),
    ("mi300", "tf32"): _amd("cdna3", 4, "MI300XMC"),
    **_rows(("mi300",), ("e4m3fnuz", "e5m2fnuz"), _CDNA3_8),
}

#: Devices and operands whose instructions with an f16 sum are this table's engine too, by recorded results; those of
#: 8-bit operands on Hopper and Blackwell are another.
CARRIED_IN_F16 = tuple(
    (device, fmt)
    for device, fmt in ENGINES
    if ENGINES[device, fmt].engine == "fused" and (fmt == "f16" or (device in ("ada", "l40s") and fmt in _FP8))
)
#: Smallest exponent that terms are aligned to when the carried sum is f16, by the same in f32.
F16_FLOORS = {-300: -19, -132: -20, -133: -21}

#: (precision, emin, emax) of the formats that chains of single roundings work in.
WORKING = {"f64": (53, -1022, 1023), "f32": (24, -126, 127), "f16": (11, -14, 15), "bf16": (8, -126, 127)}
