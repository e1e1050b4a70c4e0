"""The empty servers that the front ends are measured against: `python echoes.py http|grpc PORT`."""

import asyncio
import sys

BODY = b'{"outputs":[{"data":[' + b"0.1234567," * 17 + b"0.1]}]}"


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def echo_grpc(port):
    import grpc
    from tritonclient.grpc import service_pb2 as pb

    answer = pb.ModelInferResponse(model_name="tiny", model_version="1", raw_output_contents=[bytes(32)])
    answer.outputs.add(name="y", datatype="FP32", shape=[1, 8])

    async def infer(request, context):
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
    )
    server = grpc.aio.server()
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "http":
        import uvicorn

        uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error")
    else:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(echo_grpc(port))
