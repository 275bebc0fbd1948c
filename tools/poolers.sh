#!/bin/sh
# PgBouncer and pgpool-II, for the tests with a pooler before PostgreSQL; promtool, for those of the alerts.
#
# The system's if they are installed, else Debian's or Ubuntu's packages, which are unpacked in .venv/poolers and not
# installed: no service is started, and no right is needed. Where neither can be had, one line says what is left out.
set -u
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/usr/local/sbin"
into=$PWD/.venv/poolers

runs() { LD_LIBRARY_PATH="$(echo "$into"/usr/lib/*-linux-gnu*)" "$(echo "$into"/usr/*bin/"$1")" --version; }

# From the lists that apt has; the superuser may fetch them.
unpack() {
    packages="$1 $(apt-cache depends --no-recommends "$1" | sed -n 's/^  Depends: \(lib[^ ]*\)$/\1/p' | grep -v '^libc6$\|^libjs-')"
    for package in $packages; do apt-get download -qq "$package" || return 1; done
    for file in *.deb; do dpkg-deb -x "$file" "$into" || return 1; done
}

fetch() {
    folder=$(mktemp -d) && mkdir -p "$into" && cd "$folder" || return 1
    unpack "$1" || { test "$(id -u)" = 0 && timeout 60 apt-get update -qq && unpack "$1"; }
    status=$?
    cd / && rm -rf "$folder"
    return $status
}

for pair in pgbouncer:pgbouncer pgpool:pgpool2 promtool:prometheus; do
    program=${pair%:*} package=${pair#*:}
    if command -v "$program" >/dev/null || runs "$program" >/dev/null 2>&1; then continue; fi
    if ! command -v apt-get >/dev/null; then
        echo "left out: the tests with $program; it is not installed, and there is no apt-get to fetch it"
    elif ! (fetch "$package") >/dev/null 2>&1 || ! runs "$program" >/dev/null 2>&1; then
        echo "left out: the tests with $program; it is not installed, and apt-get can't fetch $package"
    fi
done
