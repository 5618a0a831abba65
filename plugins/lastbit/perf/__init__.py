"""Speed, judged without noise: clean samples, interleaved pairs, an interval, and a verdict (docs/performance.md)."""
