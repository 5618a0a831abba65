"""What is mutated: the modules that decide a verdict, and the tests of suites/meta that must notice."""

from typing import Final

#: File: names of its tests, those that run its lines fastest first.
TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "plugins/lastbit/judge.py": ("judge_exact", "judge"),
    "plugins/lastbit/acceptance.py": ("acceptance",),
    "plugins/lastbit/metrics.py": ("metrics",),
    "plugins/lastbit/vacuity.py": ("vacuity",),
    "plugins/lastbit/statistics.py": ("statistics_numbers",),
    "plugins/lastbit/budget.py": ("budget_formulas",),
    "plugins/lastbit/budget_terms.py": ("budget_formulas",),
    "plugins/lastbit/budget_output.py": ("budget_formulas",),
    "plugins/lastbit/gemm_budget.py": ("budget_formulas",),
    "plugins/lastbit/scaled_gemm_terms.py": ("scaled_gemm_budget",),
    "plugins/lastbit/scaled_gemm_budget.py": ("scaled_gemm_budget",),
    "plugins/lastbit/softmax_budget.py": ("softmax_budget",),
    "plugins/lastbit/attention_terms.py": ("attention_terms", "attention_budget"),
    "plugins/lastbit/attention_budget.py": ("attention_budget", "attention_terms"),
    "plugins/lastbit/paged_budget.py": ("paged",),
    "plugins/lastbit/quantize_judge.py": ("law_quantize_parts", "quantize_faults"),
    "plugins/lastbit/dequantize_judge.py": ("dequantize_judge",),
    "golden/drift.py": ("golden_limits", "golden_drift"),
    "golden/match.py": ("golden_files", "golden_limits", "golden_store"),
    "golden/store.py": ("golden_files", "golden_store"),
    "references/eft.py": ("eft", "truth_parts"),
    "references/certificate.py": ("slicing",),
    "references/one_rounding.py": ("one_rounding",),
    "references/slicing.py": ("slicing",),
    "references/safe_range.py": ("truth_faults", "truth_parts"),
    "references/ladder.py": ("truth_faults", "truth"),
    "references/rational.py": ("truth_parts", "truth_faults"),
    "references/pairs.py": ("softmax_truth",),
    "references/exponential.py": ("softmax_truth",),
    "references/ulp.py": ("formats", "rounding"),
    "references/rounding.py": ("rounding", "formats"),
    "references/codes.py": ("formats", "rounding"),
    "references/formats.py": ("formats", "rounding"),
    "references/format_rational.py": ("formats", "rounding"),
    "references/chains.py": ("accumulators", "accumulators_bounds"),
    "references/accumulator_bounds.py": ("accumulators_bounds",),
}


def tests(module: str) -> tuple[str, ...]:
    """The files of the tests of `module`."""
    return tuple(f"suites/meta/test_{name}.py" for name in TARGETS[module])
