"""gRPC: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection, on HTTP/2 of our own (`http2`)."""
