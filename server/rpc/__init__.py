"""gRPC: `inference.GRPCInferenceService` and `grpc.health.v1`, for now on grpc.aio behind `front.py`."""
