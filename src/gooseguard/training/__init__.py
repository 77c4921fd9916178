"""Datasets to checkpoints: learning vocabularies and weights, calibrating scores."""
