"""The compiled extension: what native/bindings gives Python. Only codec and engine import it.

Absent where no C++ compiler was there at install; `codec/extension.py` tells.
"""

def describe_build() -> str:
    """Give compiler, version and C++ standard, such as "GCC 12.2.0, C++20"."""
