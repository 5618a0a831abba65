"""Keeps the repository's own tests, and datasheets, out of a conformance run; naming their path runs them."""

collect_ignore = ["meta", "test_datasheet.py"]
