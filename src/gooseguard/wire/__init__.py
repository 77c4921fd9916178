"""Packaged TOML: how the categories appear on other people's wire formats."""
