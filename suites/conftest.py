"""Keeps the repository's own tests out of a conformance run; `pytest suites/meta` names them."""

collect_ignore = ["meta"]
