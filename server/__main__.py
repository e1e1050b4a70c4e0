"""`python -m server` is `headrace`."""

from server.cli import main

main()
