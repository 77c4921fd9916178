"""One module a schema version, in order of their numbers."""
