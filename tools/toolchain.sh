#!/bin/sh
# The real tools that some tests check with: RabbitMQ, Chromium and promtool where apt has them; helm, grpcurl and an OpenTelemetry Collector where Go is, which
# keeps what it has built; and the libraries of the Rust client where cargo is.
set -eu
bin=$(pwd)/.tools/bin
from_apt() { # COMMAND PACKAGE WHAT
  if command -v "$1" >/dev/null || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
  echo "tools: installing $3"
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2") >/dev/null 2>&1 \
    || echo "tools: $3 cannot be installed, so its tests are skipped"
}
from_apt rabbitmq-server rabbitmq-server RabbitMQ
from_apt chromium chromium Chromium
from_apt promtool prometheus promtool
if command -v cargo >/dev/null && [ ! -d clients/rust/target ]; then
  echo "tools: building the Rust client, for what it stands on"
  work=$(mktemp -d)
  .venv/bin/python -m tools.protos >/dev/null && .venv/bin/python -m zipfile -e dist/tollway-protos.zip "$work"
  sh clients/rust/build.sh "$work"
  rm -rf "$work"
fi
command -v go >/dev/null || { echo "tools: no Go on this machine, so the tests that want helm, grpcurl or a collector are skipped"; exit 0; }
mkdir -p "$bin"
HELM=v3.22.0 GRPCURL=v1.9.4 COLLECTOR=v0.165.0
installed() { # MODULE VERSION NAME
  [ -e "$bin/$3-$2" ] && return
  echo "tools: building $3 $2"
  GOBIN=$bin go install "$1@$2"
  touch "$bin/$3-$2"
}
installed helm.sh/helm/v3/cmd/helm $HELM helm
installed github.com/fullstorydev/grpcurl/cmd/grpcurl $GRPCURL grpcurl
if [ ! -e "$bin/otelcol-$COLLECTOR" ]; then
  installed go.opentelemetry.io/collector/cmd/builder $COLLECTOR builder
  echo "tools: building an OpenTelemetry Collector $COLLECTOR"
  work=$(mktemp -d)
  sed "s#OUTPUT#$work#" tools/collector.yaml > "$work/builder.yaml"
  "$bin/builder" --config "$work/builder.yaml" > "$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
  mv "$work/otelcol" "$bin/otelcol"
  rm -rf "$work"
  touch "$bin/otelcol-$COLLECTOR"
fi
