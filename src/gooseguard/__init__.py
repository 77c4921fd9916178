"""Gooseguard."""
