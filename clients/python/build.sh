#!/bin/sh
# Builds the client's stubs from the unpacked archive of `make protos`: sh build.sh ARCHIVE.
# Needs Python with grpcio, grpcio-tools and googleapis-common-protos.
set -eu
archive=$(cd "$1" && pwd)
cd "$(dirname "$0")"
rm -rf gen && mkdir gen
${PYTHON:-python3} -m grpc_tools.protoc --descriptor_set_in="$archive/image.binpb" \
  --python_out=gen --grpc_python_out=gen \
  buf/validate/validate.proto $(cd "$archive" && find tollway -name '*.proto')
