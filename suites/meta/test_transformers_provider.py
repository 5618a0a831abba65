"""The Transformers provider: told when absent or too old, cheap to list, its sources there, its state its own."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lastbit
from lastbit import discovery
from lastbit.cli import main
from lastbit.providers import transformers as provider
from lastbit.verify import verify

installed = pytest.mark.skipif(find_spec("transformers") is None, reason="Transformers is not installed")
#: Of a window of one token, with several large weights: one_hot data cannot tell whether the other tokens are seen.
ONE_TOKEN = "bound sharp/batch1-hq1-hkv1-lq9-lk9-d16-dv16/causal=1/window=0:0"
TWO_TOKENS = ONE_TOKEN.replace("window=0", "window=1")

LISTING = """
import sys
from lastbit.providers.transformers import kernels
print(len(kernels()), sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_absent_library_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"^No module named 'transformers'$"):
        provider.kernels()
    found = discovery.find(only=["transformers/*", "numpy/dot"])
    assert found.absent["transformers"] == "not installed (No module named 'transformers')"
    assert main(["kernels", "--only", "numpy/dot", "--only", "transformers/*"]) == 0
    said = "not installed (No module named 'transformers'): transformers/dynamic_cache_chunked, "
    assert said in capsys.readouterr().out


def test_old_library_is_told_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "find_spec", lambda name: name)
    monkeypatch.setattr(provider, "version", lambda name: "4.57.1")
    found = discovery.find(only=["transformers/*", "numpy/dot"])
    assert found.absent == {
        "transformers": "transformers 4.57.1 is installed; lastbit knows the functions of 5.0 and newer"
    }


@installed
def test_listing_the_kernels_imports_neither_library() -> None:
    path = f"import lastbit; lastbit.__path__[:] = {json.dumps(list(lastbit.__path__))}\n"
    environment = {"PYTHONPATH": str(Path(lastbit.__path__[0]).parent)}
    result = subprocess.run(
        [sys.executable, "-c", path + LISTING], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert result.stdout.split(maxsplit=1) == [str(len(provider.kernels())), "[]\n"]


@installed
def test_each_kernel_cites_what_is_there() -> None:
    """Places in the installed package, each naming what it says it does."""
    root = Path(find_spec("transformers").origin).parent
    for kernel in provider.kernels():
        places = [place.strip() for place in kernel.contract.source.split(";")]
        assert places[0].startswith("transformers/"), kernel.name
        for place in places:
            if place.startswith("transformers/"):
                path, _, what = place.partition(": ")
                text = (root.parent / path).read_text()
                name = what.partition(":")[0].partition("(")[0]
                assert name in text, (kernel.name, place)


@installed
def test_smoke_covers_each_function_cache_and_phase() -> None:
    kernels = provider.kernels()
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    plain = {kernel.name for kernel in kernels if kernel.formats["out"] == "f32"}
    smoke = {kernel.name for kernel in kernels if kernel.tier == "smoke"}
    assert {name for name in plain - smoke if not name.endswith("-eager")} == {"transformers/flex-compiled"}
    assert {kernel.formats["out"] for kernel in kernels} == {"f64", "f32", "f16", "bf16"}


@installed
def test_sliding_window_of_one_token_is_the_finding_and_of_two_is_right() -> None:
    """F15: the cache keeps [-window + 1:], which is everything for a window of 1."""
    kernel = next(kernel for kernel in provider.kernels() if kernel.name == "transformers/sliding_cache_decode")
    assert verify(kernel, case=TWO_TOKENS).passed
    (record,) = verify(kernel, case=ONE_TOKEN).records
    assert (record.outcome.value, record.known) == ("over_budget", "F15")


@installed
def test_a_row_without_keys_is_refused_where_no_contract_states_it() -> None:
    import torch

    runs = {kernel.name.partition("/")[2]: kernel.run for kernel in provider.kernels()}
    q, k = torch.ones(1, 1, 3, 4), torch.ones(1, 1, 2, 4)
    with pytest.raises(NotImplementedError, match="a row without keys"):
        runs["eager"](q, k, k, causal=True)
    with pytest.raises(NotImplementedError, match="a row without keys"):
        runs["sdpa"](q, k, k, causal=True, bias=torch.zeros(1, 1, 3, 2))
    with pytest.raises(NotImplementedError, match="takes one mask"):
        runs["flex"](q, k, k, causal=True, mask=torch.zeros(1, 1, 3, 2))
    with pytest.raises(NotImplementedError, match="at least the tokens of the queries"):
        runs["dynamic_cache_decode"](q, k, k, causal=True)
    with pytest.raises(NotImplementedError, match="no later tokens"):
        runs["sliding_cache_decode"](k, k, k, window=(1, 1))


@installed
def test_calls_leave_nothing_behind() -> None:
    """A kept model has no hook left, random numbers go on as they were, and PyTorch compiles as before."""
    import torch
    from torch.nn.attention import flex_attention

    from lastbit.providers import transformers_caches

    runs = {kernel.name.partition("/")[2]: kernel.run for kernel in provider.kernels()}
    x = torch.ones(1, 2, 3, 4)
    state = torch.get_rng_state()
    first = runs["dynamic_cache_decode"](x, x, x, causal=True, scale=0.5)
    runs["flex"](x, x, x)
    assert torch.equal(state, torch.get_rng_state())
    assert flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG is False
    kept = transformers_caches._model(2, 2, 4, "sdpa", None, x.dtype, x.device)
    assert transformers_caches._model.cache_info().hits > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in kept.modules())
    assert torch.equal(first, runs["dynamic_cache_decode"](x, x, x, causal=True, scale=0.5))
