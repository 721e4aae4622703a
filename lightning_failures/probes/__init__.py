"""Observing a model that nobody changed."""
