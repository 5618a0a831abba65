"""The hooks that lastbit calls in a kernel author's conftest.py."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lastbit.kernel import Kernel


@pytest.hookspec
def pytest_lastbit_kernels(config: pytest.Config) -> "list[Kernel]":  # type: ignore[empty-body]
    """Return the kernels that a run judges, beside those found otherwise; called once, when the law is collected."""
