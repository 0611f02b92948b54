"""Builds `gen/` from `protos/`: typed async stubs, and one image for `buf lint` and `buf breaking`."""

import os
import shutil
import sys
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

PROTOS, GEN = Path("protos"), Path("gen")
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def main() -> int:
    # protoc looks for its plugins on the PATH; ours stand beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    shutil.rmtree(GEN, ignore_errors=True)
    GEN.mkdir()
    # No package ships buf/validate/validate.proto, but protovalidate carries its descriptor.
    rules = FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())
    (GEN / "validate.binpb").write_bytes(FileDescriptorSet(file=[rules]).SerializeToString())

    ours = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    common = ["protoc", f"-I{PROTOS}", f"-I{WELL_KNOWN}", f"--descriptor_set_in={GEN}/validate.binpb"]
    stubs = [f"--python_out={GEN}", f"--grpc_python_out={GEN}"]
    types = [f"--mypy_out=quiet:{GEN}", f"--mypy_grpc_out=quiet,only_async:{GEN}"]
    image = ["--include_imports", "--include_source_info", f"-o{GEN}/image.binpb"]
    failed = protoc.main([*common, *stubs, *types, *ours, rules.name]) or protoc.main([*common, *image, *ours])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
