"""Models run without torch: the definition in plain NumPy, and a fast NumPy backend that must match it."""
