#!/bin/sh
# Recompiles the contracts and fails if a committed artifact differs. Needs node 18 and, once, a package registry.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/solc ] || npm ci --ignore-scripts --no-audit --no-fund
exec node compile.mjs --check
