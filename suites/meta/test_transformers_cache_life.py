"""Transformers' caches over their lives: tokens appended, removed, reordered, forgotten, against a plain list."""

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("torch", reason="PyTorch is not installed")

import faulty_transformers as faulty
import torch
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    Fp8QuantizedLayer,
    QuantizedLayer,
    StaticCache,
    StaticLayer,
)

HEADS, SIZE, WINDOW, ROOM, BATCH = 2, 6, 5, 70, 3
Array = Any


class Exact(QuantizedLayer):
    """A group-wise layer whose quantization changes nothing: what is left is when and where tokens are stored."""

    def _quantize(self, tensor: Any, axis: int) -> Any:
        return tensor.clone()

    def _dequantize(self, q_tensor: Any) -> Any:
        return q_tensor.clone()


def config(sliding: bool) -> Any:
    if sliding:
        return MistralConfig(num_hidden_layers=1, sliding_window=WINDOW)
    return LlamaConfig(num_hidden_layers=1)


def recording(cache: Cache) -> Cache:
    cache.activate_past_recording()
    return cache


#: Each kind of cache, and what its source offers beside appending, reordering and forgetting all: to remove the latest
#: tokens, any number or no more than came since that was last done, and to take rows of the batch.
KINDS: dict[str, tuple[Callable[[], Cache], str]] = {
    "dynamic": (lambda: DynamicCache(config=config(False)), "crop take"),
    "static": (lambda: StaticCache(config=config(False), max_cache_len=ROOM), ""),
    "sliding": (lambda: DynamicCache(config=config(True)), "take"),
    "sliding, recording": (lambda: recording(DynamicCache(config=config(True))), "crop-fresh take"),
    "static sliding": (lambda: StaticCache(config=config(True), max_cache_len=ROOM), ""),
    "residual": (lambda: Cache(layers=[Exact(residual_length=4)]), ""),
    "fp8": (lambda: Cache(layers=[Fp8QuantizedLayer()]), ""),
}


def drawn(rng: np.random.Generator, batch: int, count: int) -> Array:
    """Tokens that e4m3 holds exactly by a scale of 1, which the largest of them makes: 448 and whole numbers to 16."""
    tokens = rng.integers(-16, 17, (batch, HEADS, count, SIZE)).astype(np.float32)
    tokens[..., 0] = 448
    return tokens


def check_update(cache: Cache, plain: Array, new: Array) -> Array:
    """Append `new` to both: what the cache says of its size and what it returns is what the list holds there."""
    length, start = cache.get_mask_sizes(new.shape[2], 0)
    assert int(cache.get_seq_length()) == plain.shape[2]
    plain = np.concatenate([plain, new], 2)
    keys, values = (x.numpy() for x in cache.update(torch.from_numpy(new), torch.from_numpy(-new), 0))
    assert keys.shape[2] == length
    held = min(length, plain.shape[2] - start)
    # What the window shows of the oldest new token, and after.
    first = max(start, plain.shape[2] - new.shape[2] - WINDOW + 1) if start else 0
    assert start <= first <= plain.shape[2] - new.shape[2]
    seen = slice(first - start, held)
    assert np.array_equal(keys[:, :, seen], plain[:, :, first:])
    assert np.array_equal(values[:, :, seen], -plain[:, :, first:])
    return plain


def live(kind: str, data: Any) -> None:
    make, offers = KINDS[kind]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    cache, plain, fresh = make(), np.empty((BATCH, HEADS, 0, SIZE), np.float32), 0
    for _ in range(data.draw(st.integers(1, 9))):
        held = plain.shape[2]
        steps = ["append"] * 3 + ["reorder", "reset", *offers.split()] * (held > 0)
        step = data.draw(st.sampled_from(steps))
        if step == "append":
            count = data.draw(st.integers(1, 7))
            plain = check_update(cache, plain, drawn(rng, len(plain), count))
            fresh += count
        elif step == "reset":
            cache.reset()
            plain, fresh = plain[:, :, :0], 0
        elif step.startswith("crop"):
            count = data.draw(st.integers(0, min(held - 1, fresh if step == "crop-fresh" else held)))
            cache.crop(-count)
            plain, fresh = plain[:, :, : held - count], 0
        else:
            rows = data.draw(st.lists(st.integers(0, len(plain) - 1), min_size=len(plain), max_size=len(plain)))
            (cache.reorder_cache if step == "reorder" else cache.batch_select_indices)(torch.tensor(rows))
            plain = plain[rows]
    check_update(cache, plain, drawn(rng, len(plain), 1))


def search(kind: str, *phases: hypothesis.Phase) -> None:
    @hypothesis.settings(max_examples=60, deadline=None, database=None, derandomize=True, phases=phases)
    @hypothesis.given(st.data())
    def lives(data: Any) -> None:
        live(kind, data)

    lives()


@pytest.mark.parametrize("kind", KINDS)
def test_cache_holds_what_a_plain_list_holds(kind: str) -> None:
    search(kind, hypothesis.Phase.generate, hypothesis.Phase.shrink)


def length_kept(patch: pytest.MonkeyPatch) -> None:
    """What is forgotten still counts."""

    def wrong(self: Any) -> None:
        self.keys.zero_()

    patch.setattr(StaticLayer, "reset", wrong)


def order_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The order of the batch that is put off until the next update never comes."""
    patch.setattr(QuantizedLayer, "_apply_pending_reorder", lambda self, keys, values: (keys, values))


def crop_short(patch: pytest.MonkeyPatch) -> None:
    """One token too few is removed."""
    right = DynamicLayer.crop
    patch.setattr(DynamicLayer, "crop", lambda self, count: right(self, min(count + 1, 0)))


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (faulty.newest_dropped, "dynamic"),
        (faulty.values_stale, "static"),
        (faulty.position_late, "static"),
        (faulty.window_short, "sliding"),
        (faulty.newest_code_lost, "fp8"),
        (length_kept, "static"),
        (order_forgotten, "residual"),
        (crop_short, "dynamic"),
    ],
)
def test_fault_shows_in_a_life(plant: faulty.Plant, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        search(kind, hypothesis.Phase.generate)


def test_quantized_layers_say_that_they_can_be_cropped_and_cannot() -> None:
    """F18, for which `KINDS` does not crop them: both are inherited from a layer whose tokens are all in `keys`."""
    new = torch.ones(1, HEADS, 2, SIZE)
    residual, fp8 = (KINDS[kind][0]() for kind in ("residual", "fp8"))
    for cache in (residual, fp8):
        for _ in range(2):
            cache.update(new, new, 0)
        assert cache.is_croppable
    residual.crop(-1)
    assert residual.get_seq_length() == 4
    assert residual.update(new, new, 0)[0].shape[2] == 5
    with pytest.raises(IndexError):
        fp8.crop(-1)
