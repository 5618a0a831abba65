"""All that the zoo holds: the fault classes, the faulty kernels of each op, and the correct variants."""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files

from lastbit.errors import UsageError
from lastbit.suites.zoo.specimen import FaultClass, Faulty, Specimen, Variant

#: Modules with FAULTY, a tuple of Faulty.
FAULTY_MODULES = (
    "gemm_faults",
    "gemm_index_faults",
    "gemm_cheats",
    "softmax_faults",
    "softmax_cheats",
    "cast_faults",
    "cast_random_faults",
    "cast_place_faults",
    "quantize_faults",
    "quantize_amax_faults",
    "quantize_scale_faults",
    "quantize_storage_faults",
    "quantize_table_faults",
    "quantize_random_faults",
    "quantize_path_faults",
    "quantize_draw_faults",
    "dequantize_faults",
    "dequantize_scale_faults",
    "dequantize_scale_value_faults",
    "dequantize_path_faults",
    "scaled_gemm_scale_faults",
    "scaled_gemm_faults",
    "scaled_gemm_path_faults",
    "attention_faults",
    "gradient_combined_faults",
    "gradient_faults",
    "packed_combined_faults",
    "attention_mask_faults",
    "attention_call_faults",
    "gradient_mask_faults",
    "gradient_call_faults",
    "packed_faults",
    "paged_faults",
    "kv_append_faults",
    "attention_condition_faults",
    "condition_faults",
)
#: Modules with VARIANTS, a tuple of Variant.
VARIANT_MODULES = (
    "gemm_variants",
    "engine_variants",
    "softmax_variants",
    "cast_variants",
    "quantize_variants",
    "dequantize_variants",
    "scaled_gemm_variants",
    "attention_variants",
    "gradient_variants",
    "packed_variants",
    "paged_variants",
    "kv_append_variants",
)


@cache
def classes() -> tuple[FaultClass, ...]:
    """Every fault class, of classes.toml."""
    rows = tomllib.loads(files("lastbit.suites.zoo").joinpath("classes.toml").read_text(encoding="utf-8"))["class"]
    return tuple(FaultClass(**row) for row in rows)


@cache
def faulty() -> tuple[Faulty, ...]:
    """Every faulty kernel."""
    return tuple(one for name in FAULTY_MODULES for one in import_module(f"lastbit.suites.zoo.{name}").FAULTY)


@cache
def variants() -> tuple[Variant, ...]:
    """Every correct variant."""
    return tuple(one for name in VARIANT_MODULES for one in import_module(f"lastbit.suites.zoo.{name}").VARIANTS)


def core(chosen: Sequence[Variant]) -> tuple[Variant, ...]:
    """Every second one of `chosen`: the correct variants that are judged under more seeds than the others."""
    return tuple(chosen[::2])


def specimen(name: str) -> Specimen:
    """The specimen of this name.

    Raises UsageError when the zoo holds none.
    """
    found = _by_name().get(name)
    if found is None:
        raise UsageError(f"the zoo holds no kernel {name!r}; lastbit zoo lists those that it does")
    return found


def fault_class(id: str) -> FaultClass:
    """The fault class of this id.

    Raises UsageError when there is none.
    """
    for one in classes():
        if one.id == id.upper():
            return one
    raise UsageError(f"the zoo has no fault class {id!r}, expected {classes()[0].id} to {classes()[-1].id}")


@cache
def _by_name() -> dict[str, Specimen]:
    return {one.name: one for one in (*faulty(), *variants())}
