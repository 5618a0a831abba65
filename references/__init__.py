"""Truth: number formats, proved references, accumulator models. Numpy and mpmath only; no framework."""
