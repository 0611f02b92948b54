#!/bin/sh
# Builds the client from the unpacked archive of `make protos`: sh build.sh ARCHIVE. Needs Node.js and protoc.
set -eu
archive=$(cd "$1" && pwd)
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
rm -rf src/gen && mkdir src/gen
${PROTOC:-protoc} --descriptor_set_in="$archive/image.binpb" \
  --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=src/gen \
  --ts_proto_opt=outputServices=grpc-js,esModuleInterop=true,importSuffix=.js,forceLong=bigint \
  google/rpc/status.proto google/rpc/error_details.proto \
  $(cd "$archive" && find tollway -name '*.proto')
npm run --silent build
