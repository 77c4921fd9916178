"""Many contents at once: tables in, tables out."""
