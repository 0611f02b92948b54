#!/bin/sh
# Builds the client from the unpacked archive of `make protos`: sh build.sh ARCHIVE. Needs a JDK and Maven.
set -eu
archive=$(cd "$1" && pwd)
cd "$(dirname "$0")"
mvn --quiet --batch-mode -Darchive="$archive" package
