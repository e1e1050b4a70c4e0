"""What is on disk -> what should be served -> load, publish, quiesce, unload. Knows nothing of batching or devices."""
