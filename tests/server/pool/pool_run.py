"""Runs a pool of `pool_app` in a process of its own. Arguments: replicas, HTTP port, drain grace and lag in s."""

import logging
import os
import sys
from pathlib import Path

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from model_repo import sources
from server.pool.run import run_pool

if __name__ == "__main__":
    replicas, port, grace_s, lag_s = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = ServerConfig(
            model_repository=(),
            host="127.0.0.1",
            http_port=int(port),
            grpc_port=0,
            replicas=int(replicas),
            drain_grace_s=float(grace_s),
            drain_lag_s=float(lag_s),
        )
        repositories = [Path("/no/such/repository")] if os.environ["POOL_SCENE"] == "no-repository" else []
        sys.exit(run_pool(config, "pool_app:Application", source=lambda: sources.none(repositories)))
    except ConfigError as error:
        sys.exit(str(error))
