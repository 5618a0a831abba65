"""The record: golden baselines (JSON lines) and their store."""
