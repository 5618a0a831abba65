"""The plain model of the paged cache: layout, codes, appends, pages handed out, and the data that are drawn for it."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lastbit.references import kv_append_data, kv_cache_data
from lastbit.references.formats import Format
from lastbit.references.kv_cache import (
    NO_SLOT,
    Layout,
    appended,
    contenders,
    dequantized,
    gather,
    quantized,
    signal_to_noise_db,
)
from lastbit.references.kv_pages import ARRANGEMENTS, OutOfPagesError, Placed, Pool, arranged, lengths

QUANTIZED = ("e4m3fn", "e5m2", "e4m3fnuz", "i8")
FORMATS = {"q": "bf16", "k_cache": "bf16", "v_cache": "bf16", "out": "bf16"}
SIZES = {"b": 5, "hq": 4, "hkv": 2, "lq": 1, "d": 16, "dv": 16, "block": 4, "len": 11}


# Layout and codes ---------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5),
    st.lists(st.integers(1, 23), min_size=1, max_size=4),
    st.sampled_from(ARRANGEMENTS),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_gather_finds_each_token_by_page_and_place(block: int, tokens: list[int], arrangement: str, seed: int) -> None:
    layout, pages = arranged(np.random.default_rng(seed), tokens, block, arrangement)
    cache = np.arange(pages * block * 2 * 3).reshape(pages, block, 2, 3)
    for sequence, count in enumerate(tokens):
        found = gather(cache, layout, sequence)
        assert found.shape == (2, count, 3)
        for token in range(count):
            page = layout.block_table[sequence, token // block]
            assert np.array_equal(found[:, token], cache[page, token % block])
    used = layout.used(pages)
    assert used.sum() == len({slot for s in range(len(tokens)) for slot in layout.slots(s).tolist()})


def test_gather_refuses_a_page_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        gather(np.zeros((2, 4, 1, 1)), Layout(np.array([[0, 7]]), np.array([5]), 4), 0)


@pytest.mark.parametrize("format", QUANTIZED)
def test_dequantized_is_the_exact_product(format: str) -> None:
    fmt, rng = Format.of(format), np.random.default_rng(1)
    codes = np.arange(256, dtype=np.uint8).reshape(-1, 2, 4)
    scale = Format.of("f32").round(rng.uniform(2.0**-20, 2.0**20, 2))
    got, values = dequantized(codes, format, scale), fmt.decode(codes)
    for index in np.ndindex(codes.shape):
        if np.isfinite(values[index]):
            assert Fraction(got[index]) == Fraction(values[index]) * Fraction(scale[index[1]])
        else:
            assert np.isnan(got[index]) or np.isinf(got[index])
    assert np.array_equal(dequantized(codes, format), values, equal_nan=True)


@pytest.mark.parametrize("format", QUANTIZED)
@pytest.mark.parametrize("arithmetic", ["divide", "reciprocal"])
def test_quantized_is_f32_arithmetic_and_one_rounding(format: str, arithmetic: str) -> None:
    """Against rational numbers, rounded to f32 after each operation and once to the cache's format."""
    rng, f32, fmt = np.random.default_rng(2), Format.of("f32"), Format.of(format)
    x = f32.round(rng.standard_normal((40, 3, 2)) * fmt.max)
    scale = f32.round(rng.uniform(0.5, 3.0, 3))
    got = fmt.decode(quantized(x, format, scale, arithmetic=arithmetic, overflow="saturate"))
    for index in np.ndindex(x.shape):
        value, by = Fraction(x[index]), Fraction(scale[index[1]])
        if arithmetic == "divide":
            quotient = f32.round_rational(value / by)
        else:
            quotient = f32.round_rational(value * Fraction(f32.round_rational(1 / by)))
        assert got[index] == fmt.round_rational(Fraction(quotient), overflow="saturate")


def test_quantized_without_a_scale_rounds_once_and_knows_its_arithmetic() -> None:
    x = np.array([[1.0 + 2.0**-9, np.nan, -0.0]])
    assert np.array_equal(quantized(x, "bf16", None), Format.of("bf16").encode(x))
    assert quantized(x, "i8", np.ones(1)).tolist() == [[1, 0, 0]]
    with pytest.raises(ValueError, match="arithmetic is 'multiply'"):
        quantized(x, "i8", np.ones(1), arithmetic="multiply")


@given(st.lists(st.integers(-2, 11), max_size=9))
def test_appended_writes_slots_in_order_and_nothing_else(slots: list[int]) -> None:
    cache = np.arange(12 * 2, dtype=np.uint8).reshape(4, 3, 1, 2)
    codes = np.arange(100, 100 + 2 * len(slots), dtype=np.uint8).reshape(-1, 1, 2)
    before, got = cache.copy(), appended(cache, codes, np.array(slots, np.int64))
    assert np.array_equal(cache, before)
    wanted = {slot: codes[token] for token, slot in enumerate(slots) if slot >= 0}
    for slot in range(12):
        assert np.array_equal(got[slot // 3, slot % 3], wanted.get(slot, cache[slot // 3, slot % 3]))
    assert {slot: tokens[-1] for slot, tokens in contenders(np.array(slots)).items()} == {
        slot: token for token, slot in enumerate(slots) if slot >= 0
    }


def test_appended_refuses_a_slot_beyond_the_cache() -> None:
    with pytest.raises(IndexError):
        appended(np.zeros((2, 2, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8), np.array([4]))


def test_signal_to_noise_in_decibel() -> None:
    x = np.array([3.0, 4.0])
    assert signal_to_noise_db(x, x + np.array([0.3, 0.4])) == pytest.approx(20.0)
    assert signal_to_noise_db(x, x) == np.inf
    assert np.isnan(signal_to_noise_db(np.zeros(2), np.zeros(2)))


# Pages handed out: against a plain dict of what each sequence was given -----------------------------------------------

POISON = -1


class Cache(RuleBasedStateMachine):
    """A pool of pages and one number a token; `book` is what each sequence has to read back."""

    make: Any = Pool

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.make(7, 3)
        self.memory = np.full((7, 3), POISON)
        self.book: dict[int, list[int]] = {}
        self.born = 0
        self.token = 0

    @rule(which=st.integers(0, 9), count=st.integers(0, 5))
    def append(self, which: int, count: int) -> None:
        sequence = (*self.book, self.born)[which % (len(self.book) + 1)]
        before = (dict(self.pool.lengths), {s: list(t) for s, t in self.pool.tables.items()}, list(self.pool.free))
        try:
            placed = self.pool.append(sequence, count)
        except OutOfPagesError:
            assert before == (self.pool.lengths, self.pool.tables, self.pool.free)
            return
        self.born = max(self.born, sequence + 1)
        for source, target in placed.copies:
            self.memory[target] = self.memory[source]
        tokens = list(range(self.token, self.token + count))
        self.token += count
        for slot, token in zip(placed.slots, tokens, strict=True):
            self.memory.reshape(-1)[slot] = token
        self.book.setdefault(sequence, []).extend(tokens)

    @precondition(lambda self: self.book)
    @rule(which=st.integers(0, 9))
    def fork(self, which: int) -> None:
        parent = list(self.book)[which % len(self.book)]
        self.pool.fork(parent, self.born)
        self.book[self.born] = list(self.book[parent])
        self.born += 1

    @precondition(lambda self: self.book)
    @rule(which=st.integers(0, 9))
    def evict(self, which: int) -> None:
        sequence = list(self.book)[which % len(self.book)]
        del self.book[sequence]
        self.memory[list(self.pool.evict(sequence))] = POISON

    @invariant()
    def reads_back(self) -> None:
        for row, sequence in enumerate(self.book):
            layout = self.pool.layout(*self.book)
            assert gather(self.memory[..., None, None], layout, row)[0, :, 0].tolist() == self.book[sequence]

    @invariant()
    def counts_its_pages(self) -> None:
        held = [page for table in self.pool.tables.values() for page in table]
        assert {page: held.count(page) for page in held} == self.pool.users
        assert sorted([*self.pool.free, *set(held)]) == list(range(7))


MACHINE = settings(
    max_examples=120, stateful_step_count=20, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def test_pool_keeps_what_sequences_were_given() -> None:
    run_state_machine_as_test(Cache, settings=MACHINE)  # type: ignore[no-untyped-call]


class WritesShared(Pool):
    """An append goes to a shared page without copying it."""

    def append(self, sequence: int, tokens: int) -> Placed:
        shared = {page: self.users[page] for page in self.tables.get(sequence, [])[-1:]}
        self.users |= dict.fromkeys(shared, 1)
        try:
            return Pool.append(self, sequence, tokens)
        finally:
            self.users |= shared


class ForgetsCopy(Pool):
    """The shared page is replaced by an empty one."""

    def append(self, sequence: int, tokens: int) -> Placed:
        return replace(Pool.append(self, sequence, tokens), copies=())


class FreesShared(Pool):
    """Evicting one sequence frees the pages that others still hold."""

    def evict(self, sequence: int) -> tuple[int, ...]:
        for page in self.tables[sequence]:
            self.users[page] = 1
        return Pool.evict(self, sequence)


class WritesNeighbour(Pool):
    """Each token goes one place too far."""

    def append(self, sequence: int, tokens: int) -> Placed:
        placed = Pool.append(self, sequence, tokens)
        return replace(placed, slots=tuple((slot + 1) % (self.pages * self.block) for slot in placed.slots))


@pytest.mark.parametrize("faulty", [WritesShared, ForgetsCopy, FreesShared, WritesNeighbour])
def test_machine_catches_a_faulty_pool(faulty: type[Pool]) -> None:
    machine = type("Faulty", (Cache,), {"make": faulty})
    unshrunk = settings(MACHINE, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises((AssertionError, KeyError, IndexError)):
        run_state_machine_as_test(machine, settings=unshrunk)  # type: ignore[no-untyped-call]


# Data ---------------------------------------------------------------------------------------------------------------


def test_lengths_lie_around_a_page() -> None:
    assert lengths(8, 40, 8) == [40, 1, 8, 9, 7, 39, 16, 17]
    assert lengths(3, 5, 8, least=3) == [5, 3, 5]


def test_arrangements_share_and_reach_the_top() -> None:
    rng = np.random.default_rng(0)
    shared, _ = arranged(rng, [11, 9, 3], 4, "shared")
    assert np.array_equal(shared.block_table[0, :2], shared.block_table[1, :2])
    assert shared.block_table[0, 2] != shared.block_table[1, 2]
    assert shared.block_table[2, 0] != shared.block_table[0, 0]
    top, pages = arranged(rng, [11], 4, "top", 70_000)
    assert pages == 70_000
    assert top.block_table[0, :3].tolist() == [69_999, 69_998, 69_997]
    shuffled, _ = arranged(rng, [40] * 3, 4, "shuffled")
    assert not np.array_equal(np.sort(shuffled.block_table[0, :10]), shuffled.block_table[0, :10])
    with pytest.raises(ValueError, match="arrangement is 'diagonal'"):
        arranged(rng, [1], 1, "diagonal")


@pytest.mark.parametrize("cache", ["bf16", "e4m3fn", "i8"])
@pytest.mark.parametrize("unused", kv_cache_data.UNUSED)
@pytest.mark.parametrize("recipe", kv_cache_data.RECIPES)
def test_paged_data_is_the_same_for_the_same_seed_and_marks_unused_places(cache: str, unused: str, recipe: str) -> None:
    formats = {**FORMATS, "k_cache": cache, "v_cache": cache}
    one, two = (kv_cache_data.paged(recipe, formats, SIZES, 3, unused=unused) for _ in range(2))
    other = kv_cache_data.paged(recipe, formats, SIZES, 4, unused=unused)
    for name, operand in one.operands.items():
        assert np.array_equal(operand.codes, two.operands[name].codes)
    assert not np.array_equal(one.operands["v_cache"].codes, other.operands["v_cache"].codes)
    used = one.layout.used(one.operands["k_cache"].codes.shape[0])
    assert not used.all()
    for name in ("k_cache", "v_cache"):
        values = one.operands[name].values
        assert np.isfinite(values[used]).all()
        if unused == "nan" and Format.of(cache).has_nan:
            assert np.isnan(values[~used]).all()
    if cache != "bf16":
        scales = [one.operands[f"{name}_scale"].values for name in ("k", "v")]
        assert scales[0].shape == (2,)
        assert np.unique(np.concatenate(scales)).size == 4
        tensor = kv_cache_data.paged(recipe, formats, SIZES, 3, heads=False)
        assert tensor.operands["k_scale"].values.shape == (1,)


def test_one_hot_needs_a_dimension_that_numbers_the_tokens() -> None:
    assert kv_cache_data.applicable("one_hot", FORMATS, SIZES)
    assert not kv_cache_data.applicable("one_hot", FORMATS, {**SIZES, "d": 2})
    assert not kv_cache_data.applicable("one_hot", {**FORMATS, "q": "e2m1fn"}, SIZES)
    assert kv_cache_data.applicable("normal", FORMATS, {**SIZES, "d": 2})


@pytest.mark.parametrize("order", kv_append_data.SLOTS)
def test_slots_are_in_the_pool_and_different_but_for_duplicates(order: str) -> None:
    rng = np.random.default_rng(5)
    slots = kv_append_data.slot_numbers(rng, 17, 7, 4, order)
    real = slots[slots != NO_SLOT]
    assert slots.size == 17
    assert real.min() >= 0
    assert real.max() < 28
    assert (np.unique(real).size == real.size) == (order != "duplicates")
    assert (real.size < 17) == (order == "padding")
    if order == "edges":
        assert {0, 3, 4, 7, 27} <= set(slots.tolist())
    with pytest.raises(ValueError, match="29 tokens in 28 places"):
        kv_append_data.slot_numbers(rng, 29, 7, 4, order)


@pytest.mark.parametrize(("source", "cache"), [("bf16", "e4m3fn"), ("f16", "e5m2"), ("f32", "e4m3fn"), ("bf16", "i8")])
def test_near_ties_tell_the_arithmetics_apart_and_ties_do_not(source: str, cache: str) -> None:
    formats = {"k": source, "v": source, "k_cache": cache, "v_cache": cache}
    sizes = {"tokens": 13, "hkv": 2, "d": 16, "dv": 16, "block": 8, "pages": 7}
    for recipe, seed in ((r, s) for r in ("near_ties", "ties") for s in range(5)):
        data = kv_append_data.appends(recipe, formats, sizes, seed)
        differ = [
            quantized(data[name].values, cache, data[f"{name}_scale"].values, arithmetic="divide")
            != quantized(data[name].values, cache, data[f"{name}_scale"].values, arithmetic="reciprocal")
            for name in ("k", "v")
        ]
        assert np.any(differ) == (recipe == "near_ties")


def test_append_data_suit_caches_with_and_without_scales() -> None:
    plain, scaled = ({"k": "bf16", "v": "bf16", "k_cache": x, "v_cache": x} for x in ("bf16", "i8"))
    assert [kv_append_data.applicable(r, plain) for r in ("normal", "bits", "ties", "extremes")] == [
        True,
        True,
        False,
        False,
    ]
    assert [kv_append_data.applicable(r, scaled) for r in ("normal", "bits", "ties", "extremes")] == [
        True,
        False,
        True,
        True,
    ]
