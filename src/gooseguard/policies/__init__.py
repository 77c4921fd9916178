"""Packaged policies."""
