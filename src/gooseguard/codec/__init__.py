"""Content to model input, model output to scores; shared by all backends, so that they cannot differ."""
