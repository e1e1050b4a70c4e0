#!/bin/sh
# What the container runs: `headrace` with the arguments given, by default `headrace serve` on the models in /models.
# SageMaker calls its containers with the one argument `serve`, and has put the model into /opt/ml/model by then.
set -eu
trap 'exit 0' TERM INT
[ $# -gt 0 ] || set -- serve
if [ "$*" = serve ]; then
  if [ -d /opt/ml/model ]; then
    : "${HEADRACE_MODEL_REPOSITORY:=/opt/ml/model}" "${HEADRACE_HTTP_PORT:=${SAGEMAKER_BIND_TO_PORT:-8080}}"
    export HEADRACE_MODEL_REPOSITORY HEADRACE_HTTP_PORT
  elif [ -z "${HEADRACE_CONFIG:-}" ]; then
    export HEADRACE_MODEL_REPOSITORY="${HEADRACE_MODEL_REPOSITORY:-/models}"
  fi
fi
# Process 1 does not get a signal before it has a handler. One that comes while Python starts waits, and headrace takes it.
exec env --block-signal=TERM,INT headrace "$@"
