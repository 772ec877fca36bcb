#!/bin/sh
# Fetches the Python documentation (about 540 HTML pages), a real source for the tests, into .cache/.
# It comes from Debian's package and needs no root. Without apt the tests that want it are skipped.
set -u
cache="$(cd "$(dirname "$0")/../.." && pwd)/.cache"
[ -d "$cache/python-docs" ] && exit 0
command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || {
    echo "no apt-get here: tests on the Python documentation will be skipped" >&2
    exit 0
}
mkdir -p "$cache/download" && cd "$cache/download" || exit 0
package=$(apt-cache depends python3-doc 2>/dev/null | sed -n 's/^ *Depends: \(python3\.[0-9]*-doc\)$/\1/p' | head -n 1)
if ! apt-get download --quiet "${package:-python3.13-doc}" >/dev/null 2>&1; then
    # A fresh container has no package lists.
    [ "$(id -u)" = 0 ] && apt-get update --quiet >/dev/null 2>&1
    package=$(apt-cache depends python3-doc 2>/dev/null | sed -n 's/^ *Depends: \(python3\.[0-9]*-doc\)$/\1/p' | head -n 1)
    apt-get download --quiet "${package:-python3.13-doc}" >/dev/null 2>&1 || {
        echo "the Python documentation cannot be fetched: tests on it will be skipped" >&2
        exit 0
    }
fi
dpkg-deb --extract ./*-doc_*.deb unpacked || exit 0
# Renamed last, so that a half-fetched folder is never taken for the whole.
docs=$(find unpacked/usr/share/doc -type d -name html | head -n 1)
mv "$docs" "$cache/python-docs.part" && mv "$cache/python-docs.part" "$cache/python-docs"
rm -rf "$cache/download"
