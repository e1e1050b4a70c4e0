"""What the supervisor spawns: `python -P -m server.pool CONTROL_FD DIRECTORY APPLICATION HTTP_FD GRPC_FD`.

The death pipe comes first: even the imports of replica.py take half a second of CPU, in which the parent may go.
"""

import sys
from pathlib import Path

from server.pool.death_pipe import end_with_parent

if __name__ == "__main__":
    control_fd, directory, application, *listening_fds = sys.argv[1:]
    end_with_parent(int(control_fd), Path(directory))

    from server.pool.replica import main

    main(int(control_fd), [*map(int, listening_fds)], Path(directory), application)
