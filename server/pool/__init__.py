"""The process pool of `headrace serve`: one supervisor, N replicas, each a complete server.

    supervisor                               binds the sockets, spawns, restarts, drains; answers no request
     |  control channel (a socketpair): its end is each one's death notice
     |    Boot, Wanted, Verdict, Drain ->   <- Vote, Ready, Failed, Draining
     +- replica 0..N-1                       Listener -> Application; all share one HTTP socket and one gRPC port
     +- standby                              a process that has imported everything and waits for a dead one's place
    board                                    shared memory: who is ready, who has how many connections

`run.run_pool` is the way in; `application.ReplicaApplication` is the seam to the server that a replica runs.
"""
