#!/usr/bin/env bash
# The edge tests on an emulated arm64 machine, and how far its answers are from those of this one.
#
#   scripts/arm64.sh            needs root for debootstrap the first time, then nobody in particular
#
# The root file system, Debian's with the arm64 wheels of the device's packages, is kept in
# $KGATED_CACHE (default ~/.cache/kgated) and is built anew when constraints.txt changes. Without
# qemu or debootstrap it says so and ends with 0: nothing was tested then.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
# A Raspberry Pi 4. (The default `max` of qemu 7.2 gets int8 products wrong; 10.0 does not.)
suite=bookworm python=3.11 cpu=cortex-a72
key="$(sha256sum "$here/constraints.txt" "$0" | sha256sum | cut -c1-12)"
cache="${KGATED_CACHE:-$HOME/.cache/kgated}/arm64-$suite-$key"
root="$cache/root" site="$cache/site"

skip() {
  printf '\n**** SKIPPED: %s. NOTHING was tested on arm64. ****\n\n' "$1" >&2
  exit 0
}

need() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || skip "$1 is missing: install $2"
  { apt-get update && apt-get install -y --no-install-recommends "$2"; } >/dev/null 2>&1 ||
    skip "apt-get could not install $2"
}

build() {
  need debootstrap debootstrap
  [ "$(id -u)" = 0 ] || skip "debootstrap needs root to build $root the first time"
  rm -rf "$cache" && mkdir -p "$cache"
  # The first stage alone: nothing of the packages is run, they are only unpacked.
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,libstdc++6 \
    "$suite" "$root" >"$cache/log" 2>&1 || skip "debootstrap failed, see $cache/log"
  for deb in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$deb" "$root"; done
  rm -rf "$root/var/cache/apt/archives"
  # Emulated programs would read this machine's, and LiteRT dies of what it finds there. The folder
  # hides the other files of /proc from who lists it.
  mkdir -p "$root/proc"
  printf '%s\n' 'processor : 0' 'Features : fp asimd evtstrm crc32 cpuid' \
    'CPU implementer : 0x41' 'CPU architecture: 8' 'CPU variant : 0x0' 'CPU part : 0xd08' \
    'CPU revision : 3' '' >"$root/proc/cpuinfo"
  python3 -m venv "$cache/pip"
  "$here/scripts/retry.sh" "$cache/pip/bin/pip" install -q --target "$site" -c "$here/constraints.txt" \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --only-binary=:all: \
    --python-version "$python" numpy ai-edge-litert pytest || skip "pip found no arm64 wheels"
  touch "$cache/whole"
}

# Stands for the emulated interpreter, also where a test starts one of its own.
program() { # name, arguments before the caller's
  printf '#!/bin/sh\nPYTHONHOME="%s" PYTHONPATH="%s" QEMU_CPU=%s exec qemu-aarch64-static -L "%s" -0 "%s" "%s" %s "$@"\n' \
    "$root/usr" "$work/site:$site" "$cpu" "$root" "$work/bin/python3" \
    "$root/usr/bin/python$python" "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

need qemu-aarch64-static qemu-user-static
[ -e "$cache/whole" ] || build
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
program python3 ""
program kgated-edge "-m kgated_edge"
python3 -m venv "$work/here"
"$here/scripts/retry.sh" "$work/here/bin/pip" install -q -c "$here/constraints.txt" "$here/edge"
"$here/scripts/retry.sh" "$work/here/bin/pip" install -q --no-deps --target "$work/site" "$here/edge"
cd "$here"

models=(tests/edge/fixtures/*.tflite)
"$work/here/bin/python" scripts/golden_outputs.py "${models[@]}" --save "$work/x86-64.npz"
for model in "${models[@]}"; do
  "$work/bin/kgated-edge" selftest "$model" >"$work/selftest" || { cat "$work/selftest"; exit 1; }
done
printf '\nGolden outputs, %s against an emulated %s:\n\n' "$(uname -m)" "$cpu"
"$work/bin/python3" scripts/golden_outputs.py "${models[@]}" --against "$work/x86-64.npz"
printf '\n'
# The packages whose results depend on LiteRT's or NumPy's kernels of the processor, or on the order of
# sums. The others are the same Python or single operations of NumPy on each, and emulation makes them
# ten times as slow. So are, in these packages, the tests of signals, pipes, processes and memory.
computing=(runtime ingest text)
processes=(ingest/test_runner.py runtime/test_soak.py runtime/test_worker_pool.py)
numbers="not hold_a_large_file_once and not loudest_sound"
PATH="$work/bin:$PATH" "$work/bin/python3" -m pytest "${computing[@]/#/tests/edge/}" \
  "${processes[@]/#/--ignore=tests/edge/}" -k "$numbers" -p no:cacheprovider "$@"
