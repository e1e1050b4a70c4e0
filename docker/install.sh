#!/bin/sh
# Makes the environment of the image, /opt/venv, from a lock with hashes: install.sh REQUIREMENTS. For the Dockerfile.
set -eu
python3 -m venv --without-pip /opt/venv
python3 -m pip --python /opt/venv/bin/python --disable-pip-version-check install --quiet --no-cache-dir --no-compile \
  --no-deps --only-binary :all: --require-hashes -r "$1"
cd /opt/venv/lib/python3*/site-packages

# What is never used, by size: the runtime for C programs (Python's has its own copy linked in), tests of numpy and onnx,
# AWS's services but those that a repository on S3 needs, tools for those who make models.
rm -f onnxruntime/capi/libonnxruntime.so.*
rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnx/backend/test
find . -depth -type d -name tests -exec rm -rf {} +
if [ -d botocore/data ]; then
  find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name 'sts' ! -name 'sso*' ! -name signin -exec rm -rf {} +
fi
# Debug symbols. Not of what other tools have patched (*.libs, and what is linked to them): strip would break it.
find . -name '*.so' -size +1M ! -path '*.libs/*' ! -path './numpy/*' ! -path './onnx*' -exec strip --strip-unneeded {} +

echo /opt/headrace > headrace.pth
# Checked by nobody, since nothing changes here: a copy with new times must not count as changed.
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash .
