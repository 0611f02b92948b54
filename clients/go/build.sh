#!/bin/sh
# Builds the client from the unpacked archive of `make protos`: sh build.sh ARCHIVE. Needs Go and protoc.
set -eu
archive=$(cd "$1" && pwd)
cd "$(dirname "$0")"
tools=$(pwd)/.bin
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
rm -rf gen && mkdir gen
PATH=$tools:$PATH ${PROTOC:-protoc} --descriptor_set_in="$archive/image.binpb" \
  --go_out=gen --go_opt=module=github.com/tollway/tollway/gen/go \
  --go-grpc_out=gen --go-grpc_opt=module=github.com/tollway/tollway/gen/go \
  $(cd "$archive" && find tollway -name '*.proto')
cat > gen/go.mod <<'MOD'
module github.com/tollway/tollway/gen/go

go 1.25
MOD
go build -o client .
