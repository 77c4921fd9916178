"""A client for OpenAI-compatible chat endpoints: what labels, teaches and judges from afar."""
