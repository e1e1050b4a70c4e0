"""Run one closed batch on its device. Knows ONNX Runtime; knows nothing of queues, files on disk or protocols."""
