"""Engines: processes that run models for all replicas: batches are not split over those, and a crash stays there.

replica: Ticket -> RemoteBatcher -> [shared memory, socket] -> engine: Errand -> Batcher -> Executor, and back
"""
