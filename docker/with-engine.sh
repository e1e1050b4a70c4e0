#!/usr/bin/env bash
# Runs a command with a container engine at hand: with-engine.sh COMMAND [ARGUMENT...]
#
# The command finds in its environment
#   ENGINE    the engine with its options, e.g. `docker` or `podman --root ...`
#   BUILD     the same for building, e.g. `docker build`
#   STAND_IN  what had to be replaced to get that far, as a sentence; empty where nothing had to
# Looks for docker, then podman, that run and have or can pull the base image. Failing that, as root on Debian it takes
# podman, buildah and crun from Debian's archive, keeps images apart in WORK, and builds a Debian root in place of the
# base image. Where nothing of this goes it says so and exits with 75; CONTAINER_ENGINE=none asks for that.
set -euo pipefail

BASE=${BASE:-docker.io/library/python:3.12-slim}
CUDA_BASE=${CUDA_BASE:-docker.io/nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04}
SUITE=${SUITE:-bookworm}
WORK=${WORK:-/var/tmp/headrace-containers}
PACKAGES=(buildah podman crun conmon golang-github-containers-common catatonit mmdebstrap)

skip() { echo "no container engine: $*" >&2; exit 75; }

works() { # does this engine run, with the base image?
  command -v "$1" >/dev/null && timeout 20 "$1" info >/dev/null 2>&1 &&
    { "$1" image inspect "$BASE" >/dev/null 2>&1 || timeout 300 "$1" pull --quiet "$BASE" >/dev/null 2>&1; }
}

go() { export ENGINE BUILD STAND_IN; exec "$@"; }

debian_root() { # the archive's suite as a tar file, from the sources that this machine uses
  local sources=() file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if [ -f "$file" ]; then sources+=("$file"); fi
  done
  # Without documentation and translations, as Debian's slim images are.
  sed "s/bookworm/$SUITE/g" "${sources[@]}" | mmdebstrap --quiet --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --include=python3,python3-pip,python3-venv,ca-certificates "$SUITE" "$WORK/root.part.tar" - >&2 ||
    skip "Debian's archive gives no root for the base image"
  mv "$WORK/root.part.tar" "$WORK/root-$SUITE.tar"
}

stand_in() { # an image with the name of the one that cannot be had
  local image=$1 container
  if buildah "${STORE[@]}" inspect --type image "$image" >/dev/null 2>&1; then return; fi
  [ -f "$WORK/root-$SUITE.tar" ] || debian_root
  container=$(buildah "${STORE[@]}" from scratch)
  buildah "${STORE[@]}" add --quiet "$container" "$WORK/root-$SUITE.tar" / >/dev/null
  # The official images have `python` and `pip` that may install; Debian's are named otherwise and refuse.
  buildah "${STORE[@]}" run --isolation chroot "$container" -- sh -c '
    rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
    ln -sf /usr/bin/python3 /usr/local/bin/python; ln -sf /usr/bin/pip3 /usr/local/bin/pip'
  buildah "${STORE[@]}" config --cmd python3 --env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah "${STORE[@]}" commit --quiet --rm "$container" "$image" >/dev/null
}

if [ "${CONTAINER_ENGINE:-}" = none ]; then skip "asked not to use one"; fi
for each in docker podman; do
  if [ -z "${CONTAINER_ENGINE:-}" ] || [ "${CONTAINER_ENGINE}" = "$each" ]; then
    if works "$each"; then
      ENGINE=$each BUILD="$each build" STAND_IN=""
      if [ "$each" = podman ]; then BUILD+=" --format docker"; fi # else HEALTHCHECK is dropped
      go "$@"
    fi
  fi
done
[ "$(id -u)" = 0 ] || skip "neither docker nor podman runs with $BASE, and only root can do without"
command -v apt-get >/dev/null || skip "neither docker nor podman runs with $BASE, and this is not Debian"

if [ -z "${OWN_MOUNTS:-}" ]; then # engines change mounts: of this command only
  export OWN_MOUNTS=1
  unshare --mount true 2>/dev/null || skip "this machine allows no mounts of one's own (unshare)"
  exec unshare --mount --propagation private "$0" "$@"
fi
umount /sys/fs/cgroup/unified 2>/dev/null || true # beside v1 it confuses crun

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} != 0 ]; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq >&2 || skip "Debian's archive cannot be reached"
  apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null || skip "these cannot be installed: ${missing[*]}"
fi

mkdir -p "$WORK"
cat > "$WORK/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
export CONTAINERS_CONF=$WORK/containers.conf DISABLE_HC_SYSTEMD=true
STORE=(--storage-driver "${STORAGE:-overlay}" --root "$WORK/store" --runroot "$WORK/run")
stand_in "$BASE"
stand_in "$CUDA_BASE"

# What pip needs here to find packages is lent to RUN; the Dockerfile knows nothing of it.
lent=()
for path in /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf \
  $(grep -oE '(file://)?/[^ ]+' /etc/pip.conf 2>/dev/null | sed 's,^file://,,' | sort -u); do
  if [ -e "$path" ] && [[ $path != /etc/ssl/certs/* ]]; then lent+=(--volume "$path:$path:ro"); fi
done
podman "${STORE[@]}" run --rm --network host "$BASE" true >/dev/null 2>&1 || skip "podman starts no container here"
ENGINE="podman ${STORE[*]}"
BUILD="buildah ${STORE[*]} bud --layers --isolation chroot --pull-never --network host --format docker ${lent[*]}"
STAND_IN="a Debian root ($SUITE) stands in for $BASE"
echo "$STAND_IN" >&2
go "$@"
