#!/usr/bin/env bash
# Builds the image headrace:TARGET and prints its size: with-engine.sh build.sh [cpu|gpu]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-cpu}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' headrace/__init__.py)
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
# shellcheck disable=SC2086 # both are command lines
{
  ${BUILD:?run this by with-engine.sh} --target "$target" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --file docker/Dockerfile --tag "headrace:$target" . >&2
  $ENGINE image inspect "headrace:$target" --format '{{.Size}}' |
    awk -v target="$target" '{ printf "headrace:%s is %.0f MB, uncompressed, with its base\n", target, $1 / 1e6 }'
}
