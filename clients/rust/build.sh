#!/bin/sh
# Builds the client from the unpacked archive of `make protos`: sh build.sh ARCHIVE. Needs cargo.
set -eu
TOLLWAY_PROTOS=$(cd "$1" && pwd)
export TOLLWAY_PROTOS
cd "$(dirname "$0")"
cargo build --quiet --locked
