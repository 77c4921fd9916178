"""Weights of the packaged starter model."""
