"""Tensors from process to process: through shared memory, with small messages on a socket saying which and where."""
