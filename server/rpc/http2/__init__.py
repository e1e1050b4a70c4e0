"""HTTP/2 (RFC 9113) as a server speaks it, without a socket, a clock or a word of gRPC."""
