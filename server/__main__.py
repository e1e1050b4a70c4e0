"""`python -m server` is `headrace`."""

from server.entry import main

main()
