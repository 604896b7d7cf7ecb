#!/usr/bin/env bash
# Installs the wheels of a folder for one version of Python, in fresh environments, and tries them:
#   scripts/try_wheels.sh 3.12 dist [ENVIRONMENT]
# A Python that is not here, and one that a dependency has no wheel for, is skipped and says so. What
# kgated needs is installed too, or it is taken from ENVIRONMENT, which must have the same Python.
set -euo pipefail
cd "$(dirname "$0")/.."
version="$1" wheels="$(cd "$2" && pwd)" has_packages="${3:-}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# On the path, or of pyenv.
python=""
for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
  if "$candidate" -c '' 2>/dev/null; then python="$candidate" && break; fi
done
if [ -z "$python" ]; then
  echo "**** no Python $version: the wheels were NOT tried with it ****"
  exit 0
fi

# Constraints are of Python 3.11: another version takes what fits it.
constraints=()
[ "$version" = 3.11 ] && constraints=(-c constraints.txt)

# The device's package alone, then both.
"$python" -m venv "$work/env"
scripts/retry.sh "$work/env/bin/pip" install -q --no-compile "${constraints[@]}" "$wheels"/kgated_edge-*.whl
model="$PWD/tests/edge/fixtures/speech.tflite"
(cd "$work" && "$work/env/bin/kgated-edge" selftest "$model")
echo "kgated-edge runs with $("$work/env/bin/python" --version)"

if [ -n "$has_packages" ]; then
  # After those of this environment on the path, so that kgated is that of the wheel.
  packages="$(cd "$has_packages" && pwd)/lib/python$version/site-packages"
  [ -d "$packages" ] || { echo "$has_packages has no packages of Python $version" >&2; exit 1; }
  echo "$packages" >"$work/env/lib/python$version/site-packages/packages.pth"
  "$work/env/bin/pip" install -q --no-compile --no-deps --ignore-installed "$wheels"/kgated-*.whl
elif ! scripts/retry.sh "$work/env/bin/pip" install -q --no-compile "${constraints[@]}" "$wheels"/kgated_edge-*.whl "$wheels"/kgated-*.whl \
  >"$work/log" 2>&1; then
  if grep -q "No matching distribution" "$work/log"; then
    grep "No matching distribution" "$work/log"
    echo "**** a dependency of kgated has no wheel: kgated was NOT tried with Python $version ****"
    exit 0
  fi
  cat "$work/log"
  exit 1
fi
cp scripts/try_conversion.py "$work"
(cd "$work" && "$work/env/bin/python" -c 'import sys, kgated; assert kgated.__file__.startswith(sys.prefix)')
(cd "$work" && "$work/env/bin/python" try_conversion.py && "$work/env/bin/kgated-edge" selftest tried.tflite)
(cd "$work" && "$work/env/bin/kgated" inspect tried.tflite >/dev/null)
echo "kgated converts and inspects with $("$work/env/bin/python" --version)"
