#!/bin/sh
# Fetches real sources for the tests into .cache/: the Python documentation (about 540 HTML pages) and Debian's
# installation guide (20 PDFs). Both come from Debian's packages and need no root. Without apt the tests that want them
# are skipped.
set -u
cache="$(cd "$(dirname "$0")/../.." && pwd)/.cache"
[ -d "$cache/python-docs" ] && [ -d "$cache/installation-guides" ] && exit 0
command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || {
    echo "no apt-get here: tests on the Python documentation and the installation guide will be skipped" >&2
    exit 0
}

# Downloads a package and unpacks it in the folder "unpacked".
fetch() {
    rm -rf unpacked ./*.deb
    apt-get download --quiet "$1" >/dev/null 2>&1 && dpkg-deb --extract ./*.deb unpacked
}

python_package() {
    found=$(apt-cache depends python3-doc 2>/dev/null | sed -n 's/^ *Depends: \(python3\.[0-9]*-doc\)$/\1/p' | head -n 1)
    echo "${found:-python3.13-doc}"
}

# A fresh container has no package lists.
update() {
    [ "$(id -u)" = 0 ] && apt-get update --quiet >/dev/null 2>&1
}

mkdir -p "$cache/download" && cd "$cache/download" || exit 0
# Renamed last, so that a half-fetched folder is never taken for the whole.
if [ ! -d "$cache/python-docs" ]; then
    if fetch "$(python_package)" || { update; fetch "$(python_package)"; }; then
        docs=$(find unpacked/usr/share/doc -type d -name html | head -n 1)
        mv "$docs" "$cache/python-docs.part" && mv "$cache/python-docs.part" "$cache/python-docs"
    else
        echo "the Python documentation cannot be fetched: tests on it will be skipped" >&2
    fi
fi
if [ ! -d "$cache/installation-guides" ]; then
    if fetch installation-guide-amd64 || { update; fetch installation-guide-amd64; }; then
        mkdir guides
        find unpacked -name 'install.*.pdf.gz' -exec mv {} guides ';'
        gunzip guides/*.gz && mv guides "$cache/installation-guides"
    else
        echo "the installation guide cannot be fetched: tests on it will be skipped" >&2
    fi
fi
cd "$cache" && rm -rf download
