"""Published sources -> a dataset folder: read, map, deduplicate, split, write."""
