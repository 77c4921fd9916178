"""`python -m gooseguard` is `gooseguard`."""

from gooseguard.cli.main import run

if __name__ == "__main__":
    run()
