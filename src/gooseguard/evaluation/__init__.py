"""Scorers and labelled arrays to reports. Knows a scorer by its protocol only, and no model behind it."""
