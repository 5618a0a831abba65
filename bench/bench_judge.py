"""How long judging takes: the full judgement of a large output beside torch.testing.assert_close on it."""

from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np

from lastbit.contract import Contract
from lastbit.gemm_budget import budget
from lastbit.judge import judge
from lastbit.references import gemm
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

SIZE = 2048
#: Inner size: short, because only the output's size matters to the judge.
DEPTH = 32
ROUNDS = 9


def rows() -> list[dict[str, Any]]:
    """One row: judging a 2048x2048 bf16 output, as a ratio to assert_close, measured by turns in this process."""
    name = f"judge {SIZE}x{SIZE} bf16 / torch.testing.assert_close"
    goal = "<= 1, aim 0.5"
    try:
        import torch
    except ImportError:
        return [{"name": name, "value": None, "unit": "not measured: torch is missing", "goal": goal, "ok": None}]
    bf16, contract = Format.of("bf16"), Contract(accumulator="f32")
    random = np.random.default_rng(0)
    a, b = (bf16.encode(random.standard_normal(shape)) for shape in ((SIZE, DEPTH), (DEPTH, SIZE)))
    operands = {"a": Operand(bf16, a, bf16.decode(a)), "b": Operand(bf16, b, bf16.decode(b))}
    truth = gemm.truth(operands["a"].values, operands["b"].values)
    allowed = budget(contract, {"a": "bf16", "b": "bf16", "out": "bf16"}, operands, truth)
    codes = bf16.encode(truth.hi, truth.lo)
    got = torch.from_numpy(codes.view(np.int16)).view(torch.bfloat16)
    want = torch.from_numpy(truth.hi).to(torch.bfloat16)
    threads = torch.get_num_threads()

    def ours() -> None:
        if judge(codes, bf16, truth, allowed, contract).outcome is not Outcome.PASS:
            raise RuntimeError("the benchmark's own output was judged wrong; the timing means nothing")

    def theirs() -> None:
        torch.testing.assert_close(got, want)

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(ROUNDS + 1):
        for label, function in (("ours", ours), ("theirs", theirs)):
            sleep(0.02)  # torch's idle threads spin for a while, and would be in the way of the other's
            start = perf_counter()
            function()
            if turn:  # the first warms caches and pages
                seconds[label].append(perf_counter() - start)
    judging, closing = median(seconds["ours"]), median(seconds["theirs"])
    ratio = judging / closing
    return [
        {"name": name, "value": ratio, "unit": "ratio of medians", "goal": goal, "ok": ratio <= 1},
        {"name": f"judge {SIZE}x{SIZE} bf16", "value": judging * 1e3, "unit": "ms", "goal": "", "ok": None},
        {
            "name": f"torch.testing.assert_close, {threads} threads",
            "value": closing * 1e3,
            "unit": "ms",
            "goal": "",
            "ok": None,
        },
    ]
