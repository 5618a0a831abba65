"""The law of casts has teeth: every planted fault is caught by the check that is meant for it."""

import numpy as np
import pytest

from lastbit.suites.zoo import cast_faults, cast_place_faults, cast_random_faults
from lastbit.suites.zoo import cast_parts as parts
from lastbit.suites.zoo.specimen import Faulty
from lastbit.verdict import Outcome
from lastbit.verify import verify

FAULTY = (*cast_faults.FAULTY, *cast_place_faults.FAULTY, *cast_random_faults.FAULTY)


@pytest.mark.parametrize("fault", FAULTY, ids=[fault.name for fault in FAULTY])
def test_fault_is_caught_by_name(fault: Faulty) -> None:
    report = verify(fault.build(), tier="smoke", seed=11)
    assert not report.passed
    failing = {finding.check for finding in report.findings if finding.outcome.failed}
    assert failing & fault.checks, f"caught only by {sorted(failing)}"
    assert not {Outcome.ERROR, Outcome.CRASHED} & {finding.outcome for finding in report.findings}
    assert fault.name in str(report)


def test_output_that_ignores_its_strides_is_caught() -> None:
    def run(x: parts.Array, *, out: parts.Array) -> parts.Array:
        flat = np.lib.stride_tricks.as_strided(out, (out.size,), (out.itemsize,))
        flat[...] = parts.encoded(x, "bf16").reshape(-1)
        return out

    kernel = parts.kernel("flat-out", run, parts.pair("f32", "bf16"), parts.PLAIN, frozenset({"out"}))
    report = verify(kernel, tier="smoke")
    assert "output" in {finding.check for finding in report.findings if finding.outcome.failed}


def test_a_code_of_all_f32_that_is_wrong_is_found_in_its_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exhaustive check of 2^32 codes, on the two pieces around one wrong code."""
    from lastbit.suites import cast_checks

    def run(x: parts.Array) -> parts.Array:
        y = parts.encoded(x, "e4m3fn")
        parts.codes(y)[np.ascontiguousarray(x).view(np.uint32) == 0x3F91_2345] ^= 1
        return y

    monkeypatch.setattr(cast_checks, "range", lambda *_: (0x3F80_0000, 0x3FC0_0000), raising=False)
    kernel = parts.kernel("one-of-2-32", run, parts.pair("f32", "e4m3fn"), parts.PLAIN)
    case = "exhaustive32 every_code/n4194304"
    [record] = [r for r in verify(kernel, tier="full", case=case).records if r.check == "exhaustive32"]
    assert record.outcome is Outcome.OVER_BUDGET
    assert "codes from 0x3f800000" in record.reason
    assert "0x3f912345" in record.reason
    assert "1 of 4194304" in record.reason


def test_hunt_shrinks_what_it_finds() -> None:
    """Wrong from 65 numbers in rows of three on: no case of the law has that shape."""

    def run(x: parts.Array) -> parts.Array:
        y = parts.encoded(x, "bf16")
        if x.ndim == 2 and x.shape[0] == 3 and x.shape[1] > 64:
            y[-1, -1] = 0
        return y

    kernel = parts.kernel("hidden", run, parts.pair("f32", "bf16"), parts.PLAIN)
    report = verify(kernel, tier="full", case="hunt mixed/n1")
    [finding] = [finding for finding in report.findings if finding.outcome.failed]
    assert "shrunk to check structure, case mixed/m3-n65" in finding.reason


def test_codes_above_a_narrow_format_are_a_fault_of_structure() -> None:
    """Formats that NumPy lacks travel as bytes, whose upper bits a kernel may leave set."""
    kernel = parts.kernel(
        "wide-code", lambda x: np.full(x.shape, 0x1F, np.uint8), parts.pair("f32", "nf4"), parts.ZEROING
    )
    report = verify(kernel, tier="smoke")
    assert {finding.outcome for finding in report.findings} == {Outcome.WRONG_STRUCTURE}
    assert "bits above the 4 of nf4" in report.findings[0].reason
