"""The packaged taxonomy."""
