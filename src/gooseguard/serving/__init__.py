"""The HTTP server: wire formats, the scheduler, streaming sessions, and the page."""
