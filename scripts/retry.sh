#!/usr/bin/env bash
# Runs a command that downloads, up to three times: package indexes fail for a moment now and then.
set -u
for attempt in 1 2; do
  "$@" && exit 0
  echo "**** attempt $attempt of 3 failed: $* ****" >&2
  sleep $((10 * attempt))
done
exec "$@"
