"""Server reflection (`grpc.reflection.v1` and `v1alpha`), for clients without the .proto files, such as grpcurl.

One stream of questions: which services there are, and the files that describe a symbol. The descriptors are those of
the modules that the server itself uses. The protocol's own messages are described here: they are few, and no package
that the server needs brings them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor

from server.rpc.calls import Call, Streaming, Unary
from server.rpc.codec import Message
from server.rpc.tasks import Write, of_streams

PACKAGES: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
NAMES: Final = tuple(f"{package}.ServerReflection" for package in PACKAGES)
_NOT_FOUND: Final = 5
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {"string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES, "int32": _FIELD.TYPE_INT32}
_MESSAGES: Final = {
    "ExtensionRequest": {"containing_type": (1, "string"), "extension_number": (2, "int32")},
    "ServerReflectionRequest": {
        "host": (1, "string"),
        "file_by_filename": (3, "string"),
        "file_containing_symbol": (4, "string"),
        "file_containing_extension": (5, "ExtensionRequest"),
        "all_extension_numbers_of_type": (6, "string"),
        "list_services": (7, "string"),
    },
    "FileDescriptorResponse": {"file_descriptor_proto": (1, "repeated bytes")},
    "ExtensionNumberResponse": {"base_type_name": (1, "string"), "extension_number": (2, "repeated int32")},
    "ServiceResponse": {"name": (1, "string")},
    "ListServiceResponse": {"service": (1, "repeated ServiceResponse")},
    "ErrorResponse": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ServerReflectionResponse": {
        "valid_host": (1, "string"),
        "original_request": (2, "ServerReflectionRequest"),
        "file_descriptor_response": (4, "FileDescriptorResponse"),
        "all_extension_numbers_response": (5, "ExtensionNumberResponse"),
        "list_services_response": (6, "ListServiceResponse"),
        "error_response": (7, "ErrorResponse"),
    },
}
"""Message -> field -> (number, type). The two versions differ by the name of their package only."""


def _described(package: str) -> descriptor_pb2.FileDescriptorProto:
    """The file that defines the service."""
    # proto2, where a string that is there and empty is told from none: clients ask for the list of services with one.
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/reflection.proto", package=package, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            one = kind.removeprefix("repeated ")
            added = message.field.add(name=field, number=number)
            added.label = _FIELD.LABEL_OPTIONAL if one == kind else _FIELD.LABEL_REPEATED
            added.type = _KINDS.get(one, _FIELD.TYPE_MESSAGE)
            if one not in _KINDS:
                added.type_name = f".{package}.{one}"
    asked, answered = (f".{package}.ServerReflection{side}" for side in ("Request", "Response"))
    file.service.add(name="ServerReflection").method.add(
        name="ServerReflectionInfo",
        input_type=asked,
        output_type=answered,
        client_streaming=True,
        server_streaming=True,
    )
    return file


_own = descriptor_pool.DescriptorPool()  # not the default: another package of the process may have them there
for _package in PACKAGES:
    _own.Add(_described(_package))
_pools = (descriptor_pool.Default(), _own)
_message = _own.FindMessageTypeByName
Request: Any = message_factory.GetMessageClass(_message(f"{PACKAGES[0]}.ServerReflectionRequest"))
Response: Any = message_factory.GetMessageClass(_message(f"{PACKAGES[0]}.ServerReflectionResponse"))


class Reflection:
    """`methods` is the service. It names `services`, and itself."""

    def __init__(self, *services: str) -> None:
        self._services = sorted((*services, *NAMES))
        self.methods: dict[str, Unary | Streaming] = {"ServerReflectionInfo": of_streams(Request, self._serve)}

    async def _serve(self, questions: AsyncIterator[Message], write: Write, call: Call) -> None:
        async for question in questions:
            answer = Response(valid_host=question.host, original_request=question)
            self._answer(question, answer)
            await write(answer)

    def _answer(self, question: Message, answer: Message) -> None:
        if question.HasField("list_services"):
            for name in self._services:
                answer.list_services_response.service.add(name=name)
            return
        name = question.file_containing_symbol or question.file_by_filename
        file = _file_of(name) if question.file_containing_symbol else _file_named(name)
        if file is None:
            answer.error_response.error_code = _NOT_FOUND
            answer.error_response.error_message = f"nothing here is called {name[:200]!r}"
        else:
            files = _with_imports(file).values()
            answer.file_descriptor_response.file_descriptor_proto.extend(each.serialized_pb for each in files)


def _file_of(symbol: str) -> FileDescriptor | None:
    """The file that defines `symbol`, or what it is part of: pools do not find methods and fields."""
    for name in (symbol, symbol.rpartition(".")[0]):
        for pool in _pools:
            try:
                return pool.FindFileContainingSymbol(name)
            except KeyError:
                continue
    return None


def _file_named(name: str) -> FileDescriptor | None:
    for pool in _pools:
        try:
            return pool.FindFileByName(name)
        except KeyError:
            continue
    return None


def _with_imports(file: FileDescriptor) -> dict[str, FileDescriptor]:
    found = {file.name: file}
    for each in file.dependencies:
        found |= _with_imports(each)
    return found
