"""The words of Headrace: what every other package speaks and none of them owns.

Imports nothing of the project. Tensors, requests, errors, configuration and counters are defined here;
`batcher`, `executor` and `model_repo` sit on top and do not know each other; `server` and `loadtest` compose them.
"""

__version__ = "0.1.0"
