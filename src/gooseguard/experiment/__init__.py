"""Questions that compose stages; each gives a table."""
