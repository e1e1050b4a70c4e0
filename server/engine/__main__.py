"""What the supervisor spawns for an engine: `python -P -m server.engine CONTROL_FD DIRECTORY NAME`.

The death pipe comes first, as in a replica (`server.pool.__main__`).
"""

import sys
from pathlib import Path

from server.pool.death_pipe import end_with_parent

if __name__ == "__main__":
    control_fd, directory, name = sys.argv[1:]
    end_with_parent(int(control_fd), Path(directory))

    from server.engine.process import main

    main(int(control_fd), Path(directory), name)
