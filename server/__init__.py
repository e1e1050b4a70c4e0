"""Bytes in, bytes out: protocols, data plane, process pool, command line. Composes all the other packages."""
