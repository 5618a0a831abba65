"""Backward passes of attention that are wrong only where features meet, or where whole tiles divide the sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lastbit.suites.zoo import attention_parts
from lastbit.suites.zoo.attention_parts import Array
from lastbit.suites.zoo.gradient_parts import FEATURES, attend
from lastbit.suites.zoo.specimen import Faulty

When = Callable[[Array, Array, dict[str, Any]], bool]


def keys_off(when: When) -> Callable[..., Any]:
    """dk is a part in a hundred too large `when` this is so of q, k and the options."""

    def run(q: Array, k: Array, v: Array, **options: Any) -> Any:
        found = attend(q, k, v, **options)
        if options.get("grad_out") is not None and when(q, k, options):
            found[3][...] *= found[3].dtype.type(1.01)
        return found

    return run


def together(*names: str) -> When:
    """All of these options are given; "gqa" is that query heads share keys."""
    return lambda q, k, options: all(
        q.shape[1] != k.shape[1] if name == "gqa" else bool(options.get(name) is not None) for name in names
    )


wrong = partial(attention_parts.wrong, features=FEATURES | {"mask_bias", "causal_mask"})


def _meets(*names: str) -> Faulty:
    story = f"dk is 1 % too large where {' and '.join(names)} meet."
    return wrong("F038", f"grad_keys_off_{'_'.join(names)}", story, keys_off(together(*names)), "gradients_features")


#: Every faulty backward pass of this kind; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    _meets("causal", "sinks"),
    _meets("bias", "mask"),
    _meets("causal", "mask"),
    _meets("gqa", "causal", "window"),
    _meets("scale", "causal"),
    _meets("gqa", "bias"),
    _meets("gqa", "sinks"),
    _meets("softcap", "causal"),
    _meets("softcap", "gqa"),
    wrong(
        "F007",
        "grad_keys_off_whole_tiles",
        "dk is 1 % too large where tiles of 16 divide queries and keys.",
        keys_off(lambda q, k, options: q.shape[2] % 16 == k.shape[2] % 16 == 0),
        "gradients_tails",
    ),
    wrong(
        "F007",
        "grad_keys_off_whole_64",
        "dk is 1 % too large where 64 divides the keys.",
        keys_off(lambda q, k, options: k.shape[2] % 64 == 0),
        "gradients_tails",
    ),
)
