"""V2 over REST: the codecs, the short cut in front of ASGI for plain infer requests, and the FastAPI application."""
