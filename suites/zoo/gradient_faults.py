"""Backward passes that compute otherwise than they promise; each is a turn of `attend`, or a few lines."""

import ml_dtypes
import numpy as np

from lastbit.suites.zoo.attention_parts import BF16, F16, Array, bf16, through
from lastbit.suites.zoo.gradient_parts import turned, wrong
from lastbit.suites.zoo.specimen import Faulty


def by_rounded(grad_out: Array, out: Array, p: Array, dp: Array) -> Array:
    """D from a result that was rounded to bf16, although the kernel promises f32."""
    return (grad_out * bf16(out)).sum(1)


f16 = through(np.float16)


#: Every backward pass with wrong arithmetic; each of its checks sees it.
FAULTY: tuple[Faulty, ...] = (
    wrong(
        "F038",
        "gradients_dq_unscaled",
        "dq lacks the scale.",
        turned(factors=(4.0, 1.0)),
        "gradients gradients_features",
    ),
    wrong(
        "F038",
        "gradients_dk_unscaled",
        "dk lacks the scale.",
        turned(factors=(1.0, 4.0)),
        "gradients gradients_features",
    ),
    wrong("F003", "gradients_dq_doubled", "dq is added twice.", turned(factors=(2.0, 1.0)), "gradients gradients_laws"),
    wrong(
        "F018",
        "gradients_dk_negative",
        "dk has the wrong sign.",
        turned(factors=(1.0, -1.0)),
        "gradients gradients_masks",
    ),
    wrong(
        "F002",
        "gradients_dk_last_queries_missing",
        "The last tile of queries is not in dk.",
        turned(dropped_tile=-1),
        "gradients gradients_tails gradients_layout",
    ),
    wrong(
        "F002",
        "gradients_dk_first_queries_missing",
        "The first tile of queries is not in dk.",
        turned(dropped_tile=0),
        "gradients gradients",
    ),
    wrong(
        "F002",
        "gradients_dq_second_keys_missing",
        "The second tile of keys is not in dq.",
        turned(keys_dropped=1),
        "gradients_tails gradients_masks",
    ),
    wrong(
        "F013",
        "gradients_mean_of_rounded_result",
        "The row's mean of gradients is taken from a result in bf16 where f32 is promised.",
        turned(mean=by_rounded),
        "gradients gradients",
    ),
    wrong(
        "F049",
        "gradients_mean_missing",
        "The row's mean of gradients is not subtracted.",
        turned(mean=lambda grad_out, out, p, dp: np.zeros_like(out[:, 0])),
        "gradients gradients_features",
    ),
    wrong(
        "F052",
        "gradients_mean_of_neighbour",
        "The mean of gradients of the row before is subtracted.",
        turned(mean=lambda g, out, p, dp: np.roll((g * out).sum(1), 1)),
        "gradients gradients",
    ),
    wrong(
        "F051",
        "gradients_lse_missing",
        "P is recomputed without the log-sum-exp.",
        turned(lse=np.zeros_like),
        "gradients gradients",
    ),
    wrong(
        "F051",
        "gradients_lse_base_two",
        "P is recomputed with a log-sum-exp in units of log 2.",
        turned(lse=lambda lse: lse / np.float32(np.log(2))),
        "gradients gradients",
    ),
    wrong("F031", "gradients_lse_bf16", "The log-sum-exp is kept in bf16.", turned(lse=bf16), "gradients gradients"),
    wrong(
        "F035",
        "gradients_exp_poor",
        "exp with a relative error of 2^-12.",
        turned(exp=lambda x: np.exp(x) * np.float32(1 + 2.0**-12)),
        "gradients gradients",
    ),
    wrong(
        "F038",
        "gradients_scores_unscaled",
        "Scores are recomputed without the scale.",
        turned(scale=lambda factor: np.float32(1)),
        "gradients gradients_features",
    ),
    wrong(
        "F037",
        "gradients_softcap_slope_missing",
        "The slope of the softcap is left out.",
        turned(slope=np.ones_like),
        "gradients_features",
    ),
    wrong(
        "F037",
        "gradients_softcap_slope_linear",
        "The slope of the softcap is 1 - |t|, not 1 - t^2.",
        turned(slope=lambda bent: 1 - np.abs(bent)),
        "gradients_features",
    ),
    wrong(
        "F053",
        "gradients_ds_f16",
        "dS is rounded to f16, which is not declared.",
        turned(cast_ds=f16),
        "gradients gradients",
    ),
    wrong(
        "F053",
        "gradients_ds_bf16",
        "dS is rounded to bf16, which is not declared.",
        turned(cast_ds=bf16),
        "gradients gradients_masks",
    ),
    wrong(
        "F053",
        "gradients_p_bf16",
        "P is rounded to bf16, which is not declared.",
        turned(cast_p=bf16),
        "gradients gradients_masks",
    ),
    wrong(
        "F053",
        "gradients_p_e4m3",
        "P is rounded to e4m3 where bf16 is declared.",
        turned(cast_p=through(ml_dtypes.float8_e4m3fn)),
        "gradients gradients",
        BF16,
        probabilities="bf16",
    ),
    wrong(
        "F010",
        "gradients_sums_bf16",
        "dq, dk and dv are summed in bf16.",
        turned(add=bf16),
        "gradients_large",
        BF16,
        probabilities="bf16",
    ),
    wrong(
        "F009",
        "gradients_sums_f16",
        "dq, dk and dv are summed in f16.",
        turned(add=f16),
        "gradients_large",
        F16,
        probabilities="f16",
    ),
    wrong(
        "F001",
        "gradients_head_parts_bf16",
        "The parts of heads are rounded to bf16 before they are added.",
        turned(part=bf16),
        "gradients gradients_features",
    ),
    wrong(
        "F011",
        "gradients_upstream_offset",
        "2^-10 is added to dq.",
        turned(last=lambda dq, dk, dv: (dq + np.float32(2.0**-10), dk, dv)),
        "gradients gradients_laws",
    ),
)
