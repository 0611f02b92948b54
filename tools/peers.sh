#!/bin/sh
# Installs the gateways that benchmarks compare with, each into a folder of its own.
set -eu
mkdir -p .tools/peers/portkey
[ -x .tools/peers/litellm/bin/litellm ] || {
    .venv/bin/uv venv --quiet .tools/peers/litellm
    .venv/bin/uv pip install --python .tools/peers/litellm/bin/python 'litellm[proxy]==1.83.0'
}
command -v npm >/dev/null || { echo "Portkey's gateway needs Node.js" >&2; exit 1; }
[ -d .tools/peers/portkey/node_modules ] || (cd .tools/peers/portkey && npm install --no-audit --no-fund @portkey-ai/gateway@1.15.2)
