"""assert_conforms of softmax, log_softmax, logsumexp and attention: right results pass, one wrong element does not."""

from typing import Any

import numpy as np
import pytest

from lastbit import Contract, assert_conforms
from lastbit.errors import UsageError

torch = pytest.importorskip("torch")

DTYPES = ["float64", "float32", "bfloat16", "float16"]


def logits(dtype: str) -> Any:
    return (4 * torch.randn(17, 65, generator=torch.Generator().manual_seed(0))).to(getattr(torch, dtype))


def triple(dtype: str, hkv: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"q": (2, 4, 5, 16), "k": (2, hkv, 9, 16), "v": (2, hkv, 9, 16)}
    kind = getattr(torch, dtype)
    return {name: torch.randn(*shape, generator=generator).to(kind) for name, shape in shapes.items()}


def attend(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False, scale: float | None = None) -> Any:
    """(result, log-sum-exp) computed in float64 and rounded once."""
    wide = [x.double() for x in (q, *(x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v)))]
    scores = wide[0] @ wide[1].mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    rows, keys = scores.shape[-2:]
    if causal:
        scores = scores.masked_fill(torch.ones(rows, keys).triu(keys - rows + 1) > 0, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.double()
    lse = torch.logsumexp(scores, -1)
    return (torch.softmax(scores, -1) @ wide[2]).to(q.dtype), lse.to(
        torch.float64 if q.dtype == torch.float64 else torch.float32
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_rounded_once_conforms_and_one_wrong_element_does_not(op: str, dtype: str) -> None:
    x = logits(dtype)
    out = getattr(torch, op)(x.double(), -1).to(x.dtype)
    assert_conforms(out, op, {"x": x})
    place = (3, 4) if out.ndim == 2 else (3,)
    out[place] *= 1 + 2.0 ** {"float64": -40, "float32": -12, "bfloat16": -6, "float16": -6}[dtype]
    with pytest.raises(AssertionError, match=r"over_budget: max error .* ulp at \(3"):
        assert_conforms(out, op, {"x": x})


def test_softmax_of_numpy_and_of_one_row() -> None:
    x = np.arange(5, dtype=np.float32)
    assert_conforms(torch.softmax(torch.from_numpy(x), 0).numpy(), "softmax", {"x": x})


def test_softmax_holds_the_contract_of_masked_rows() -> None:
    x = torch.full((2, 3), -torch.inf)
    x[1] = torch.arange(3.0)
    zero, nan = torch.softmax(x, -1).nan_to_num(0.0), torch.softmax(x, -1)
    assert_conforms(zero, "softmax", {"x": x})
    assert_conforms(nan, "softmax", {"x": x}, contract=Contract(masked_row="nan"))
    with pytest.raises(AssertionError, match="wrong_class"):
        assert_conforms(nan, "softmax", {"x": x})


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_rounded_once_conforms_and_one_wrong_element_does_not(dtype: str) -> None:
    given = triple(dtype)
    out, lse = attend(**given)
    assert_conforms(out, "attention", given)
    assert_conforms((out, lse), "attention", given)
    wrong = lse.clone()
    wrong[1, 2, 3] += 0.01
    with pytest.raises(AssertionError, match=r"over_budget: log-sum-exp: max error .* at \(1, 2, 3\)"):
        assert_conforms((out, wrong), "attention", given)
    out[0, 1, 2, 3] += 0.1
    with pytest.raises(AssertionError, match=r"over_budget: max error .* ulp at \(0, 1, 2, 3\)"):
        assert_conforms(out, "attention", given)


@pytest.mark.parametrize("options", [{"causal": True}, {"scale": 0.5}, {"causal": True, "scale": 0.5}])
def test_attention_takes_its_options_and_refuses_a_result_without_them(options: dict[str, Any]) -> None:
    given = triple("float32")
    out, _ = attend(**given, **options)
    assert_conforms(out, "attention", given, **options)
    with pytest.raises(AssertionError, match="over_budget"):
        assert_conforms(out, "attention", given)


@pytest.mark.parametrize("kind", ["bool", "float32"])
def test_attention_takes_a_mask(kind: str) -> None:
    given = triple("float32")
    keep = torch.rand(2, 1, 5, 9, generator=torch.Generator().manual_seed(2)) < 0.7
    keep[..., 0] = True
    mask = keep if kind == "bool" else torch.where(keep, 0.0, -torch.inf)
    out, _ = attend(**given, mask=mask)
    assert_conforms(out, "attention", {**given, "mask": mask})
    with pytest.raises(AssertionError, match="over_budget"):
        assert_conforms(attend(**given)[0], "attention", {**given, "mask": mask})


def test_library_attention_conforms() -> None:
    given = triple("bfloat16", hkv=4)
    out = torch.nn.functional.scaled_dot_product_attention(*given.values())
    assert_conforms(out, "attention", given, contract=Contract(probabilities="bf16"))


def test_results_that_an_op_does_not_have_are_refused() -> None:
    x = logits("float32")
    with pytest.raises(UsageError, match="2 results of softmax, expected one"):
        assert_conforms((x, x), "softmax", {"x": x})
    with pytest.raises(AssertionError, match=r"shape is \(17, 64\), expected \(17, 65\)"):
        assert_conforms(x[:, :64], "softmax", {"x": x})
