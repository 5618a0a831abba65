"""Contracts: what is filled in where a kernel promises nothing, by operands and device."""

import types

import pytest

from lastbit import discovery
from lastbit.contract import Contract, resolved
from lastbit.errors import KernelError
from lastbit.kernel import Kernel
from lastbit.references.accumulators import Accumulator


def default(operand: str, out: str = "f32", engine: str = "") -> object:
    return resolved(Contract(), {"a": operand, "b": operand, "out": out}, engine).accumulator


@pytest.mark.parametrize(("operand", "expected"), [("f64", "f64"), ("f32", "f32"), ("bf16", "f32"), ("i8", "i32")])
def test_default_accumulator_on_a_cpu_follows_the_operands(operand: str, expected: str) -> None:
    assert default(operand) == expected


def test_default_accumulator_on_a_gpu_is_its_matrix_engine_in_any_order() -> None:
    chosen = default("f16", engine="h100")
    assert isinstance(chosen, Accumulator)
    assert (chosen.name, chosen.order, chosen.fraction_bits, chosen.terms) == ("h100/f16", "any", 25, 16)
    assert chosen.truncates


def test_operands_that_no_engine_reads_keep_the_chain() -> None:
    """f32 operands are summed by ordinary units unless TF32 is declared; i32 and f64 have their own."""
    assert [default(fmt, engine="h100") for fmt in ("f32", "f64", "i8")] == ["f32", "f64", "i32"]


def test_promised_accumulator_is_not_replaced() -> None:
    formats = {"a": "f16", "b": "f16", "out": "f16"}
    assert resolved(Contract(accumulator="f16"), formats, "h100").accumulator == "f16"


@pytest.mark.parametrize(("capability", "engine"), [((9, 0), "h100"), ((8, 0), "a100"), ((7, 5), "")])
def test_matrix_engine_is_known_by_compute_capability(
    capability: tuple[int, int], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = types.SimpleNamespace(get_device_capability=lambda index: capability)
    torch = types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(hip=None))
    monkeypatch.setitem(__import__("sys").modules, "torch", torch)
    assert discovery.matrix_engine("cuda:1") == engine
    assert discovery.matrix_engine("cpu") == ""


def test_matrix_engine_of_an_amd_device_is_known_by_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = types.SimpleNamespace(gcnArchName="gfx942:sramecc+:xnack-")
    cuda = types.SimpleNamespace(get_device_properties=lambda index: properties)
    torch = types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(hip="6.4"))
    monkeypatch.setitem(__import__("sys").modules, "torch", torch)
    assert discovery.matrix_engine("cuda") == "mi300"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subnormals", "flsh"),
        ("output_rounding", "neerest"),
        ("input_rounding", "tf33"),
        ("overflow", "sat"),
        ("accumulator", "f99"),
        ("masked_row", "x"),
        ("exp_ulp", -1.0),
    ],
)
def test_contract_with_a_word_that_means_nothing_is_refused(field: str, value: object) -> None:
    with pytest.raises(KernelError, match=f"{field} is {value!r}, expected"):
        Contract(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("features", [{"btach"}, "batch", ("batch", "oops")])
def test_kernel_with_a_feature_that_its_op_has_not_is_refused(features: object) -> None:
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    with pytest.raises(KernelError, match=r"features is .*, expected a set of alpha, batch, beta, bias, c, out"):
        Kernel("mine/one", "gemm", print, formats, features=features)  # type: ignore[arg-type]
    assert Kernel("mine/two", "gemm", print, formats, features=["batch"]).features == frozenset({"batch"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("framework", "jax", "jax is not supported by this version of lastbit; wrap the kernel"),
        ("framework", "keras", "framework is 'keras', expected one of torch, numpy, jax"),
        ("devices", "cpu", "devices is 'cpu', expected a tuple of cpu and cuda, or one"),
        ("devices", ("cpu", "tpu"), r"devices is \('cpu', 'tpu'\), expected"),
        ("devices", ("cuda:1",), "devices is .*, expected"),
        ("devices", (), r"devices is \(\), expected"),
        ("limit", 0, "limit is 0, expected a whole number of at least 1, or None for any"),
        ("limit", -5, "limit is -5, expected"),
        ("limit", 1e6, "limit is 1000000.0, expected"),
        ("limit", True, "limit is True, expected"),
        ("limit", {"f32": 0}, "limit of f32 is 0, expected"),
        ("limit", {"f33": 10}, "limit names f33, expected formats of out"),
        ("tile", {"q": 64}, "tile names 'q', expected some of m, n, k"),
        ("tile", {"m": 0}, "tile of m is 0, expected a whole number of at least 2"),
        ("tile", {"m": 64.0}, "tile of m is 64.0, expected"),
    ],
)
def test_kernel_field_that_means_nothing_is_refused(field: str, value: object, said: str) -> None:
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    with pytest.raises(KernelError, match=said):
        Kernel("mine/one", "gemm", print, formats, **{field: value})  # type: ignore[arg-type]


def test_kernel_fields_that_mean_something_are_taken() -> None:
    formats = {"a": "f32", "b": "f32", "out": "f32"}
    for limit in (None, 1, 2**40, {"f32": 10, "bf16": 20}):
        assert Kernel("mine/one", "gemm", print, formats, limit=limit).limit == limit
    assert Kernel("mine/one", "gemm", print, formats, devices=("cuda",), tile={"m": 64, "k": 16}).tile["k"] == 16
