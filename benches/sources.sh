#!/usr/bin/env bash
# Fetches the sources of a real C project for the benchmark `compare` (Lua 5.4, from Debian's archive) into the folder of
# its argument, as project.tar. Does nothing where that is there already, and changes nothing in the settings of apt.
set -eu
out=$1
[ -e "$out/project.tar" ] && exit 0
command -v apt-get > /dev/null || { echo "no apt-get to fetch the sources of lua5.4 with" >&2; exit 1; }
mkdir -p "$out"
work=$(mktemp -d "$out/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The archives that packages come from have sources too.
mkdir -p "$work/parts" "$work/lists/partial" "$work/got"
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2> /dev/null | sed -n 's/^deb /deb-src /p' > "$work/sources.list" || true
for file in /etc/apt/sources.list.d/debian*.sources; do
    if [ -e "$file" ]; then sed 's/^Types:.*/Types: deb-src/' "$file" > "$work/parts/${file##*/}"; fi
done
apt() {
    apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root "$@" > "$work/log" 2>&1 ||
        { tail -n 1 "$work/log" >&2; echo "the sources of lua5.4 cannot be fetched" >&2; exit 1; }
}
cd "$work/got"
work=$(cd .. && pwd)
apt update
apt source --download-only lua5.4
gzip -dc lua5.4_*.orig.tar.gz > "$work/project.tar"
mv "$work/project.tar" "$work/.."
