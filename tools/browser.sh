#!/bin/sh
# Make sure that a Chromium is there for the tests that open the report; say and do nothing where one is.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    printf 'error: there is no Chromium\n  where: chromium, chromium-browser and google-chrome on PATH\n' >&2
    printf '  next:  install one, or leave the browser tests out with ALPHAF_NO_BROWSER=1\n' >&2
    exit 1
fi
log=$(mktemp)
echo "browser: installing chromium, log: $log"
export DEBIAN_FRONTEND=noninteractive
# The package lists of a machine that has just been made may be empty.
if ! apt-get install -y --no-install-recommends chromium >"$log" 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends chromium; } >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        exit 1
    }
fi
