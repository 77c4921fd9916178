"""Arrays to numbers: ranking, calibration, resampling. NumPy only, no I/O."""
