"""Torch modules: the RWKV backbone, the families built on it, and their checkpoints."""
