"""What is mutated: the modules that decide a verdict, and the tests of suites/meta that must notice."""

from typing import Final

#: File: names of its tests. Few and fast ones: a mutant that lives costs all those that run its line.
TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "plugins/lastbit/judge.py": ("judge_exact", "histogram", "judge"),
    "plugins/lastbit/acceptance.py": ("acceptance",),
    "plugins/lastbit/metrics.py": ("metrics", "histogram"),
    "plugins/lastbit/histogram.py": ("histogram",),
    "plugins/lastbit/vacuity.py": ("vacuity",),
    "plugins/lastbit/statistics.py": ("statistics_numbers",),
    "plugins/lastbit/budget.py": ("acceptance",),
    "plugins/lastbit/budget_terms.py": ("budget_formulas", "budget_output"),
    "plugins/lastbit/budget_output.py": ("budget_formulas", "budget_output"),
    "plugins/lastbit/gemm_budget.py": ("budget_formulas", "budget_output"),
    "plugins/lastbit/softmax_budget.py": ("softmax_formulas",),
    "plugins/lastbit/attention_budget.py": ("attention_terms",),
    "plugins/lastbit/attention_terms.py": ("attention_terms",),
    "plugins/lastbit/paged_budget.py": ("paged_budget",),
    "plugins/lastbit/scaled_gemm_budget.py": ("scaled_gemm_formulas",),
    "plugins/lastbit/scaled_gemm_terms.py": ("scaled_gemm_formulas",),
    "plugins/lastbit/quantize_judge.py": ("quantize_judge", "quantize_judge_text"),
    "plugins/lastbit/dequantize_judge.py": ("dequantize_flushed", "dequantize_judge"),
    "golden/drift.py": ("golden_limits", "golden_drift"),
    "golden/match.py": ("golden_files", "golden_limits", "golden_store"),
    "golden/store.py": ("golden_files", "golden_store"),
    "references/eft.py": ("eft", "truth_parts"),
    "references/certificate.py": ("slicing",),
    "references/one_rounding.py": ("one_rounding",),
    "references/pairs.py": ("pairs",),
    "references/rounding.py": ("rounding_exact",),
    "references/rounding_double.py": ("rounding_exact", "rounding_overflow", "rounding_stochastic"),
    "references/rounding_levels.py": ("rounding_exact", "rounding_overflow", "rounding_stochastic"),
    "references/rounding_overflow.py": ("rounding_exact", "rounding_overflow"),
    "references/slicing.py": ("slicing",),
}


def tests(module: str) -> tuple[str, ...]:
    """The files of the tests of `module`."""
    return tuple(f"suites/meta/test_{name}.py" for name in TARGETS[module])
