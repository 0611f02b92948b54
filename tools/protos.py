"""Packs the contracts into `dist/tollway-protos.zip`: the files, one image with all that they import, the service config."""

import sys
import zipfile
from pathlib import Path

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from services.runtime.channels import SERVICE_CONFIG

DIST = Path("dist")
NOTE = """Contracts of Tollway.

`tollway/` holds the files; `image.binpb` is a FileDescriptorSet with everything that they import, `buf.validate`
included, and the details that errors carry, `google.rpc`: protoc takes it as `--descriptor_set_in`. The text of `buf/validate/validate.proto` lies in the Maven artefact
`build.buf:protovalidate`; its Go package is `buf.build/gen/go/bufbuild/protovalidate`. `service_config.json` says how
clients balance, check health and retry.
"""


ERRORS = (any_pb2, duration_pb2, status_pb2, error_details_pb2)
"""What `grpc-status-details-bin` holds, what it imports first."""


def whole(image: bytes) -> bytes:
    """The image with the types of errors in it."""
    files = FileDescriptorSet.FromString(image)
    known = {file.name for file in files.file}
    for module in ERRORS:
        if module.DESCRIPTOR.name not in known:
            module.DESCRIPTOR.CopyToProto(files.file.add())
    return files.SerializeToString()


def main() -> int:
    DIST.mkdir(exist_ok=True)
    target = DIST / "tollway-protos.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path("protos").rglob("*.proto")):
            archive.write(file, file.relative_to("protos"))
        archive.writestr("image.binpb", whole(Path("gen/image.binpb").read_bytes()))
        archive.writestr("service_config.json", SERVICE_CONFIG)
        archive.writestr("README", NOTE)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
