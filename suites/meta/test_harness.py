"""Hostile kernels: each is caught, with the outcome and the words that tell a person what it did."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hostile_gemms as hostile
import hypothesis
import numpy as np
import pytest
import torch
from hostile_gemms import operands, product, trial
from hypothesis import strategies as st

from lastbit import ambient, guards, numpy_arrays, torch_arrays
from lastbit.errors import UsageError
from lastbit.guards import poison
from lastbit.harness import RESULT, Obtained, call, invoke, prepare, refill, series
from lastbit.kernel import Kernel
from lastbit.layouts import LAYOUTS
from lastbit.references.data import Operand
from lastbit.references.formats import Format
from lastbit.verdict import Outcome

Run = Callable[..., Any]

WRONG_RESULTS: list[tuple[Run, str]] = [
    (hostile.returns_none, "it returned None"),
    (hostile.returns_list, "builtins.list, expected a torch.Tensor"),
    (hostile.returns_numpy, "numpy.ndarray, expected a torch.Tensor"),
    (hostile.returns_f64, "its dtype is torch.float64, expected torch.float32 (f32)"),
    (hostile.returns_transposed_shape, "its shape is (5, 4), expected (4, 5)"),
    (hostile.returns_extra_axis, "its shape is (1, 4, 5), expected (4, 5)"),
    (hostile.returns_meta, "it is on meta, expected cpu"),
    (hostile.returns_sparse, "its layout is torch.sparse_coo"),
    (hostile.returns_subclass, "hostile_gemms.Lazy, expected a torch.Tensor"),
    (hostile.returns_parameter, "torch.nn.parameter.Parameter, expected a torch.Tensor"),
    (hostile.returns_view_of_a, "its result shares memory with operand a"),
    (hostile.zeroes_operands, "it changed operand a"),
    (hostile.writes_before, "it wrote outside operand a: 1 bytes, first 1 bytes before its first element"),
    (hostile.writes_after, "it wrote outside operand b: 1 bytes, first at byte 120 from its first element"),
    (hostile.transposes_in_place, "it changed the shape, strides, type or memory of the tensor a in place"),
    (hostile.reads_before, "its result holds lastbit's poison at 5 of 20 elements, first (0, 0)"),
    (hostile.sets_default_dtype, "it changed torch's default dtype from torch.float32 to torch.float64"),
    (hostile.sets_threads, "it changed torch's number of threads"),
    (hostile.flushes, "it changed the floating-point mode (subnormals are flushed to zero)"),
    (hostile.allows_tf32, "it changed torch.backends.cuda.matmul.fp32_precision from none to tf32"),
    (hostile.allows_reduction, "it changed torch's BF16 reduction"),
    (hostile.disables_gradients, "it changed torch's gradient mode from True to False"),
    (hostile.silences_numpy, "it changed numpy.geterr()"),
    (hostile.coarsens_mpmath, "it changed mpmath.mp.prec from 53 to 10"),
    (hostile.leaves_autocast, "it changed torch's autocast on cpu from False to True"),
    (hostile.leaves_dispatch_mode, "it changed torch's dispatch modes from 0 to 1"),
    (hostile.leaves_default_device, "it changed torch's function modes from 0 to 1"),
]


def fault(obtained: Obtained) -> tuple[Outcome, str]:
    assert obtained.fault is not None, "the kernel got away with it"
    return obtained.fault.outcome, obtained.fault.reason


def unharmed(obtained: Obtained, given: dict[str, Operand], format: str = "f32") -> None:
    assert obtained.fault is None, obtained.fault.reason
    assert np.array_equal(Format.of(format).decode(obtained.codes), product(given))


@pytest.mark.parametrize(("run", "words"), WRONG_RESULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_harness_catches_wrong_structure(run: Run, words: str) -> None:
    outcome, reason = fault(call(trial(run), operands()))
    assert outcome is Outcome.WRONG_STRUCTURE
    assert words in reason


@pytest.mark.parametrize(
    "run", [hostile.sets_default_dtype, hostile.sets_threads, hostile.flushes, hostile.allows_tf32]
)
def test_harness_puts_settings_back(run: Run) -> None:
    call(trial(run), operands())
    unharmed(call(trial(hostile.honest), operands()), operands())
    assert torch.get_default_dtype() is torch.float32
    assert ambient.floating_point() == (True,) * 5
    assert (torch.tensor([1e-38]) * 0.5).item() > 0


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="the constants are x86-64's")
@pytest.mark.parametrize("mode", hostile.X86_ROUNDING)
def test_harness_catches_rounding_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hostile.X86_ROUNDING, "up", hostile.X86_ROUNDING[mode])
    outcome, reason = fault(call(trial(hostile.rounds_up), operands()))
    assert outcome is Outcome.WRONG_STRUCTURE
    assert f"rounding is {mode}" in reason
    assert ambient.floating_point() == (True,) * 5


def test_harness_says_what_cannot_be_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambient, "_libm", lambda: None)
    try:
        _, reason = fault(call(trial(hostile.flushes), operands()))
        assert "which stays changed" in reason
    finally:
        torch.set_flush_denormal(False)


def test_harness_keeps_storage_that_shrank_from_being_read() -> None:
    outcome, reason = fault(call(trial(hostile.shrinks_storage), operands()))
    assert outcome is Outcome.CRASHED
    assert "the storage of a tensor that was not the kernel's was resized" in reason
    buffer = torch.empty(64, dtype=torch.uint8)
    buffer.untyped_storage().resize_(16)
    with pytest.raises(RuntimeError, match="was resized"):
        torch_arrays.host(buffer)


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("size", [1, 3, 8, 17, 24, 32, 64, 128, 256])
def test_harness_leaves_no_earlier_answer_in_free_memory(framework: str, size: int) -> None:
    """F091, C01: the right answer has just been freed, several times over, when the kernel asks for memory."""
    given = operands(m=size, n=size, k=8)
    for _ in range(4):
        right = call(trial(hostile.honest, framework=framework), given)
        unharmed(right, given)
        got = call(trial(hostile.unwritten, framework=framework, name="hostile/unwritten"), given)
        if size <= 3 and got.fault is None:  # at most 36 bytes: the allocator's smallest blocks are reused by anything
            assert not np.array_equal(got.codes, right.codes)
            continue
        outcome, reason = fault(got)
        assert outcome is Outcome.WRONG_STRUCTURE
        assert "they were never written" in reason


@pytest.mark.parametrize(
    ("run", "outcome", "words"),
    [
        (hostile.raises, Outcome.CRASHED, "raised ValueError: no such tile ("),
        (hostile.exits, Outcome.CRASHED, "raised SystemExit: 3"),
        (hostile.says_unsupported, Outcome.UNSUPPORTED, "f32 needs compute capability 9"),
        (hostile.dispatcher_unsupported, Outcome.UNSUPPORTED, "not implemented for 'Float'"),
    ],
)
def test_harness_tells_refusal_from_crash(run: Run, outcome: Outcome, words: str) -> None:
    got, reason = fault(call(trial(run), operands()))
    assert got is outcome
    assert words in reason
    assert outcome is not Outcome.CRASHED or "hostile_gemms.py" in reason


@pytest.mark.parametrize("last", ["", "\nptxas: out of registers"])
def test_long_message_keeps_its_type_and_its_end(last: str) -> None:
    """A compiler's log of many lines: its end says what went wrong, its beginning what kind of error it is."""

    def logs(a: Any, b: Any) -> Any:
        raise RuntimeError("cannot compile:\n" + "warning: tile is large\n" * 400 + f"done{last}")

    got, reason = fault(call(trial(logs), operands()))
    assert got is Outcome.CRASHED
    assert reason.startswith("raised RuntimeError: cannot compile:\nwarning")
    assert f"done{last} (" in reason
    assert ", in logs)" in reason
    assert len(reason) < 1500


def test_harness_lets_ctrl_c_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        call(trial(hostile.interrupted), operands())


def test_harness_notes_what_a_kernel_says(capsys: pytest.CaptureFixture[str]) -> None:
    obtained = call(trial(hostile.speaks), operands())
    unharmed(obtained, operands())
    assert obtained.notes == {"printed": "tile 3\nslow path", "warned": "FutureWarning: deprecated"}
    assert capsys.readouterr() == ("", "")


def test_harness_puts_surroundings_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTBIT_PRESENT", "here")
    monkeypatch.delenv("LASTBIT_HOSTILE", raising=False)
    here = Path.cwd()
    obtained = call(trial(hostile.moves_about), operands())
    unharmed(obtained, operands())
    assert obtained.notes["environment variables"] == "LASTBIT_HOSTILE added; LASTBIT_PRESENT changed, put back"
    assert obtained.notes["working directory"] == "changed to /, put back"
    assert (Path.cwd(), os.environ["LASTBIT_PRESENT"], os.environ["LASTBIT_HOSTILE"]) == (here, "here", "1")


def test_harness_notes_drawn_random_numbers_and_threads() -> None:
    assert call(trial(hostile.draws), operands()).notes == {"random state": "advanced: random, numpy.random, torch"}
    assert call(trial(hostile.leaves_thread), operands()).notes == {"threads": "left 1 running"}


def test_harness_catches_a_buffer_returned_twice() -> None:
    given = trial(hostile.Buffered(), name="hostile/buffered")
    unharmed(call(given, operands()), operands())
    outcome, reason = fault(call(given, operands(seed=1)))
    assert outcome is Outcome.WRONG_STRUCTURE
    assert "it returned the memory of an earlier result" in reason
    assert "the result of its earlier call has changed since" in reason


def test_harness_catches_yesterdays_result() -> None:
    given = trial(hostile.Yesterdays(), name="hostile/yesterdays")
    unharmed(call(given, operands()), operands())
    for other in (trial(hostile.honest), trial(np.matmul, framework="numpy")):
        unharmed(call(other, operands(seed=2)), operands(seed=2))
    _, reason = fault(call(given, operands(seed=1)))
    assert "it returned the memory of an earlier result" in reason


def test_harness_catches_change_of_earlier_result() -> None:
    given = trial(hostile.changes_earlier_result(), name="hostile/overtaken")
    unharmed(call(given, operands()), operands())
    _, reason = fault(call(given, operands(seed=1)))
    assert reason == "the result of its earlier call has changed since"


def test_series_gives_other_data_at_the_same_addresses() -> None:
    """The premise that shows a cache by pointer: its second answer is the first one."""
    first, second = operands(), operands(seed=1)
    cached = series(trial(hostile.CachedByPointer(), name="hostile/cached"), (first, second))
    assert [one.fault for one in cached] == [None, None]
    assert np.array_equal(cached[1].codes, cached[0].codes)
    for obtained, given in zip(series(trial(hostile.honest), (first, second)), (first, second), strict=True):
        unharmed(obtained, given)


def test_refill_keeps_addresses_and_call_does_not() -> None:
    addresses: list[tuple[int, int]] = []

    def watching(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        addresses.append((a.data_ptr(), b.data_ptr()))
        return a @ b

    given = trial(watching)
    prepared = prepare(given, operands())
    invoke(given, prepared)
    again = refill(given, prepared, operands(seed=1))
    unharmed(invoke(given, again), operands(seed=1))
    assert addresses[0] == addresses[1]
    call(given, operands())
    assert addresses[2] != addresses[1]


def test_refill_refuses_other_shapes_and_names() -> None:
    prepared = prepare(trial(hostile.honest), operands())
    with pytest.raises(UsageError, match=r"operand a is f32 \(3, 6\), expected f32 \(4, 6\)"):
        refill(trial(hostile.honest), prepared, operands(m=3))
    with pytest.raises(UsageError, match="operands a cannot replace a, b"):
        refill(trial(hostile.honest), prepared, {"a": operands()["a"]})


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("reversed", "broadcast")])
@pytest.mark.parametrize("batch", [0, 3])
def test_harness_finds_no_fault_in_honest_kernels(layout: str, batch: int) -> None:
    given = operands(batch=batch)
    chosen = {"a": layout, "b": layout, "out": layout}
    unharmed(call(trial(hostile.honest), given, layouts=chosen), given)
    unharmed(call(trial(hostile.into, features=["out"]), given, layouts=chosen), given)
    unharmed(call(trial(hostile.into_silently, features=["out"]), given, layouts=chosen), given)
    unharmed(call(trial(np.matmul, framework="numpy"), given, layouts=chosen), given)
    unharmed(call(trial(np.matmul, framework="numpy", features=["out"]), given, layouts=chosen), given)


@pytest.mark.parametrize("layout", ["transposed", "strided", "strided_rows"])
def test_harness_shows_ignored_strides(layout: str) -> None:
    given = operands()
    obtained = call(trial(hostile.ignores_strides), given, layouts={"a": layout})
    assert obtained.fault is not None or not np.array_equal(Format.of("f32").decode(obtained.codes), product(given))
    if layout != "transposed":
        assert "lastbit's poison" in fault(obtained)[1]


@pytest.mark.parametrize(
    ("run", "layout", "words"),
    [
        (hostile.beside, "contiguous", "it was given memory for its result (out) and returned another tensor"),
        (hostile.beyond, "contiguous", "it wrote outside result out: "),
        (hostile.poison_beyond, "contiguous", "it wrote outside result out: 4 bytes, first at byte 80 from"),
        (hostile.partly, "contiguous", "lastbit's poison at 4 of 20 elements, first (0, 4)"),
        (hostile.ignores_out_strides, "strided", "it wrote outside result out"),
        (hostile.ignores_out_strides, "strided_rows", "it wrote outside result out"),
    ],
)
def test_harness_guards_given_results(run: Run, layout: str, words: str) -> None:
    outcome, reason = fault(call(trial(run, features=["out"]), operands(), layouts={"out": layout}))
    assert outcome is Outcome.WRONG_STRUCTURE
    assert words in reason


def test_harness_catches_hostile_numpy_kernels() -> None:
    def scaled_in_place(a: Any, b: Any) -> Any:
        a *= 2
        return a @ b

    rows: list[tuple[Run, str]] = [
        (scaled_in_place, "it changed operand a"),
        (hostile.writes_before, "it wrote outside operand a"),
        (hostile.writes_after, "it wrote outside operand b"),
        (lambda a, b: a[:, :5], "its result shares memory with operand a"),
        (lambda a, b: (a @ b).view(np.matrix), "numpy.matrix, expected a numpy.ndarray"),
        (lambda a, b: torch.from_numpy(a @ b), "torch.Tensor, expected a numpy.ndarray"),
        (lambda a, b: (a @ b).astype(">f4"), "its dtype is >f4, expected float32 (f32)"),
        (lambda a, b: np.ma.array(a @ b), "MaskedArray, expected a numpy.ndarray"),
        (lambda a, b: 7.0, "builtins.float, expected a numpy.ndarray"),
    ]
    for run, words in rows:
        outcome, reason = fault(call(trial(run, framework="numpy"), operands()))
        assert outcome is Outcome.WRONG_STRUCTURE
        assert words in reason


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("sizes", [{"m": 0}, {"n": 0}, {"k": 0}, {"m": 0, "n": 0, "k": 0}])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "transposed"])
def test_harness_takes_empty_operands(framework: str, sizes: dict[str, int], layout: str) -> None:
    given = operands(**sizes)
    obtained = call(trial(hostile.honest, framework=framework), given, layouts={"a": layout, "b": layout})
    unharmed(obtained, given)
    assert obtained.shape == product(given).shape


def test_broadcast_is_a_stride_of_zero() -> None:
    strides: list[tuple[int, ...]] = []

    def watching(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        strides.append(a.stride())
        return a @ b

    given = operands(batch=3)
    with pytest.raises(UsageError, match="operand a differs along the batch"):
        call(trial(watching), given, layouts={"a": "broadcast"})
    one = given["a"]
    same = {**given, "a": Operand.of(np.broadcast_to(one.values[:1], one.values.shape).copy(), "f32")}
    unharmed(call(trial(watching), same, layouts={"a": "broadcast"}), same)
    assert strides == [(0, 6, 1)]


def test_reversed_is_for_frameworks_with_negative_strides() -> None:
    unharmed(call(trial(np.matmul, framework="numpy"), operands(), layouts={"a": "reversed"}), operands())
    outcome, reason = fault(call(trial(hostile.honest), operands(), layouts={"a": "reversed"}))
    assert outcome is Outcome.UNSUPPORTED
    assert reason == "PyTorch has no negative strides, which the layout of a needs"
    outcome, reason = fault(call(trial(hostile.into, features=["out"]), operands(), layouts={"out": "reversed"}))
    assert (outcome, reason) == (Outcome.UNSUPPORTED, "PyTorch has no negative strides, which the layout of out needs")


def test_results_of_a_batch_do_not_share_memory() -> None:
    with pytest.raises(UsageError, match="out cannot be laid out as broadcast"):
        call(trial(hostile.into, features=["out"]), operands(batch=2), layouts={"out": "broadcast"})


def test_harness_refuses_unknown_layouts() -> None:
    with pytest.raises(UsageError, match="layout 'diagonal': expected one of contiguous, transposed"):
        call(trial(hostile.honest), operands(), layouts={"a": "diagonal"})
    with pytest.raises(UsageError, match="layout of q: the operands are a, b and out"):
        call(trial(hostile.honest), operands(), layouts={"q": "strided"})


def test_harness_passes_extras_and_scalars_as_keywords() -> None:
    def addmm(a: Any, b: Any, *, c: Any, bias: Any, alpha: float, beta: float) -> Any:
        return alpha * (a @ b) + beta * c + bias

    given = operands()
    given["c"] = Operand.of(np.arange(20.0).reshape(4, 5), "f32")
    given["bias"] = Operand.of(np.arange(5.0), "f32")
    for layout in ("contiguous", "strided", "offset", "transposed"):
        obtained = call(trial(addmm), given, layouts={"c": layout, "bias": layout}, scalars={"alpha": 2.0, "beta": 3.0})
        assert obtained.fault is None
        wanted = 2 * product(given) + 3 * given["c"].values + given["bias"].values
        assert np.array_equal(Format.of("f32").decode(obtained.codes), wanted)


def test_harness_reports_what_the_framework_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torch_arrays.DTYPES, "bf16", "of_no_release")
    torch_arrays.dtype.cache_clear()
    outcome, reason = fault(call(trial(hostile.honest, "bf16"), operands("bf16")))
    torch_arrays.dtype.cache_clear()
    assert outcome is Outcome.UNSUPPORTED
    assert "has no type for bf16" in reason


def test_poison_in_the_operands_is_not_held_against_a_kernel() -> None:
    """An operand may hold the very NaN that marks memory as not to be read."""
    given = operands()
    codes = given["a"].codes.copy()
    codes[1] = poison("f32")
    given["a"] = Operand("f32", codes, Format.of("f32").decode(codes))
    assert call(trial(hostile.honest), given).fault is None


def test_results_that_require_gradients_are_read() -> None:
    unharmed(call(trial(lambda a, b: (a @ b).requires_grad_()), operands()), operands())


def test_partial_functions_are_kernels() -> None:
    run = partial(torch.matmul)
    assert isinstance(trial(run).kernel, Kernel)
    unharmed(call(trial(run), operands()), operands())


@hypothesis.settings(derandomize=True, deadline=None, max_examples=120)
@hypothesis.given(
    framework=st.sampled_from(["torch", "numpy"]),
    format=st.sampled_from(["f64", "f32", "f16", "bf16", "i32"]),
    layouts=st.fixed_dictionaries({name: st.sampled_from(sorted(LAYOUTS)) for name in ("a", "b", "out")}),
    sizes=st.fixed_dictionaries({name: st.integers(0, 9) for name in ("m", "n", "k", "batch")}),
    out=st.booleans(),
)
def test_honest_kernels_pass_in_every_combination(
    framework: str, format: str, layouts: dict[str, str], sizes: dict[str, int], out: bool
) -> None:
    def into(a: Any, b: Any, *, out: Any) -> None:
        out[...] = (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype) if framework == "numpy" else a @ b

    def honest(a: Any, b: Any) -> Any:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype) if framework == "numpy" else a @ b

    given = operands(format, **sizes)
    if layouts["out"] == "broadcast" and sizes["batch"] > 1:
        layouts = {**layouts, "out": "contiguous"}
    for name in ("a", "b"):
        if layouts[name] == "broadcast" and sizes["batch"]:
            values = np.broadcast_to(given[name].values[:1], given[name].values.shape).copy()
            given[name] = Operand.of(values, format)
    kernel = trial(
        into if out else honest, format, framework=framework, features=["out"] if out else [], name="honest/any"
    )
    obtained = call(kernel, given, layouts=layouts)
    used = {layouts[name] for name in ("a", "b", *(["out"] if out else []))}
    if framework == "torch" and "reversed" in used:
        assert fault(obtained)[0] is Outcome.UNSUPPORTED
    else:
        unharmed(obtained, given, format)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_damage_is_found_at_every_byte_and_told_from_outside(layout: str) -> None:
    """Each byte of a small buffer is changed in turn; where it lies is worked out from the tensor itself."""
    codes = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    codes[1] = codes[0] if layout == "broadcast" else codes[1]
    guarded = guards.guard(numpy_arrays, "a", Operand("f16", codes, Format.of("f16").decode(codes)), layout, "cpu")  # type: ignore[arg-type]
    first = guarded.tensor[0, 0, 0:1].ctypes.data - guarded.buffer.ctypes.data
    where = {
        guarded.tensor[i, j, k : k + 1].ctypes.data - guarded.buffer.ctypes.data: (i, j, k)
        for i, j, k in np.ndindex(2, 2, 3)
    }
    for byte in range(guarded.buffer.size):
        guarded.buffer[byte] ^= 0x10
        damage = guards.damage(guarded, guarded.buffer)
        guarded.buffer[byte] ^= 0x10
        assert damage is not None
        assert (damage.count, damage.offset) == (1, byte - first)
        assert damage.index == where.get(byte - byte % 2)
    assert guards.damage(guarded, guarded.buffer) is None


def test_unsupported_op_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RESULT, "cast")
    kernel = Kernel("hostile/cast", "cast", hostile.honest, {"x": "f32", "out": "f32"})
    outcome, reason = fault(call(replace(trial(hostile.honest), kernel=kernel), operands()))
    assert outcome is Outcome.UNSUPPORTED
    assert reason == f"this version of lastbit calls {', '.join(RESULT)} kernels, not cast"


def test_harness_keeps_a_kernel_from_ending_the_process() -> None:
    """os._exit(0) would end the run with status 0 and no verdict."""

    def leaves(a: object, b: object) -> None:
        os._exit(0)

    outcome, reason = fault(call(trial(leaves), operands()))
    assert outcome is Outcome.CRASHED
    assert "os._exit(0)" in reason
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
