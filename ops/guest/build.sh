#!/bin/bash
# Builds the guest that demo, tests and benches boot: build.sh OUT [CACHE]
#
# OUT gets vmlinuz, initrd.gz, count.bin (a guest without an operating system, see src/count.S) and packages.txt. From packages of this machine's Debian or Ubuntu only: a cloud kernel (unpacked, not
# installed), busybox-static, and the C programs of src/. Packages are kept in CACHE (default: $HOLDFAST_CACHE/guest, else
# ~/.cache/holdfast/guest), so another run needs no network. The same packages and compiler give the same bytes.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
fail() { printf 'guest: %s\n' "$@" >&2; exit 1; }
[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: $0 OUT [CACHE]"
out=$(realpath -m "$1")
cache=$(realpath -m "${2:-${HOLDFAST_CACHE:-${HOME:-/root}/.cache/holdfast}/guest}")

for tool in gcc:gcc cpio:cpio gzip:gzip dpkg-deb:dpkg sha256sum:coreutils xz:xz-utils; do
  command -v "${tool%%:*}" > /dev/null || fail "${tool%%:*} is missing; install it: apt-get install ${tool##*:}"
done
[ "$(uname -m)" = x86_64 ] || fail "only x86_64 is supported, this machine is $(uname -m)"
mkdir -p "$out" "$cache"
exec 9> "$cache/lock"
flock 9 # two builds at once would mix their downloads

# --- packages ---------------------------------------------------------------------------------------------------------------
candidate() { apt-cache policy "$1" 2> /dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2}'; }
depends() { apt-cache depends "$1" 2> /dev/null | sed -n 's/^ *|\?Depends: \(linux-'"$2"'-[0-9][^ ]*\)$/\1/p' | head -1; }
choose() { # the packages to fetch: a kernel for virtual machines, its modules where they are apart, busybox
  local meta kernel modules
  for meta in linux-image-cloud-amd64 linux-image-virtual linux-image-generic linux-image-amd64; do
    kernel=$(depends "$meta" image)
    [ -z "$kernel" ] || break
  done
  [ -n "${kernel:-}" ] && [ -n "$(candidate busybox-static)" ] || return 1
  modules=$(depends "$kernel" modules)
  echo "$kernel $modules busybox-static"
}
if [ ! -s "$cache/packages" ]; then
  command -v apt-get > /dev/null || fail "apt-get is missing: this needs Debian or Ubuntu"
  if ! packages=$(choose); then
    [ "$(id -u)" = 0 ] || fail "no kernel package known to apt; run as root: apt-get update"
    echo "guest: asking apt for its package lists" >&2
    apt-get -q update > "$cache/apt.log" 2>&1 || fail "apt-get update failed:" "$(tail -5 "$cache/apt.log")"
    packages=$(choose) || fail "apt knows no package linux-image-cloud-amd64 (or -virtual, -generic) or no busybox-static; is 'main' (Ubuntu: 'main universe') among its sources?"
  fi
  new=$(mktemp -d "$cache/new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  chmod 755 "$new"
  echo "guest: downloading" $packages >&2
  # shellcheck disable=SC2086
  if ! (cd "$new" && apt-get -q download $packages) > "$cache/apt.log" 2>&1; then
    [ "$(id -u)" = 0 ] && apt-get -q update >> "$cache/apt.log" 2>&1 || true # lists may be old
    (cd "$new" && apt-get -q download $packages) > "$cache/apt.log" 2>&1 || fail "cannot download $packages:" "$(tail -5 "$cache/apt.log")"
  fi
  rm -f "$cache"/*.deb
  mv "$new"/*.deb "$cache/"
  (cd "$cache" && sha256sum -- *.deb) > "$cache/packages.tmp"
  mv "$cache/packages.tmp" "$cache/packages"
  rm -rf "$new"
  trap - EXIT
fi
(cd "$cache" && sha256sum --quiet -c packages) > /dev/null 2>&1 || { rm -f "$cache/packages"; fail "packages in $cache are damaged; run again to fetch them anew"; }

# --- anything to do? -----------------------------------------------------------------------------------------------------------
key=$({ cat "$cache/packages"; gcc --version | head -1; sha256sum < "$here/build.sh"; sha256sum < "$here/init"; cat "$here"/src/* | sha256sum; } | sha256sum | cut -d ' ' -f 1)
if [ -s "$out/vmlinuz" ] && [ -s "$out/initrd.gz" ] && [ -s "$out/count.bin" ] && grep -qx "key $key" "$out/packages.txt" 2> /dev/null; then
  exit 0
fi

# --- build -----------------------------------------------------------------------------------------------------------------------
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for deb in "$cache"/*.deb; do dpkg-deb -x "$deb" "$work/x" || fail "cannot unpack $deb"; done
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,modules}
kernel=$(ls "$work"/x/boot/vmlinuz-* 2> /dev/null | head -1)
[ -n "$kernel" ] || fail "the kernel package holds no /boot/vmlinuz-*"
busybox=$(find "$work/x" -path '*/bin/busybox' -type f | head -1)
[ -n "$busybox" ] || fail "busybox-static holds no /bin/busybox"
install -m 755 "$busybox" "$root/bin/busybox"

# Modules in the order in which init loads them; one that is not there is built into the kernel.
tree=$(find "$work/x" -type d -path '*/lib/modules/*' -name kernel | head -1)
[ -n "$tree" ] || fail "no kernel modules in the packages"
n=10
for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk llc stp garp mrp 8021q; do
  file=$(find "$tree" -name "$m.ko" -o -name "$m.ko.xz" -o -name "$m.ko.zst" -o -name "$m.ko.gz" | head -1)
  to=$root/modules/$n-$m.ko
  case $file in
    '') continue ;;
    *.xz) xz -dc "$file" > "$to" ;;
    *.zst) command -v zstd > /dev/null || fail "zstd is missing; install it: apt-get install zstd"; zstd -qdc "$file" > "$to" ;;
    *.gz) gzip -dc "$file" > "$to" ;;
    *) cp "$file" "$to" ;;
  esac
  n=$((n + 1))
done

(cd "$here/src" && gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -static -s -Wl,--build-id=none \
  -ffile-prefix-map="$here"=. -o "$root/bin/holdfast-guest" main.c common.c sequence.c ring.c udpseq.c bulk.c ether.c drops.c clock.c touch.c) \
  || fail "the C programs do not compile (is libc6-dev installed?)"
for name in ring udpseq bulk ether drops clock touch; do ln -s holdfast-guest "$root/bin/$name"; done
install -m 755 "$here/init" "$root/init"
# A firmware image: 64 KiB that end at 4 GiB, entered at their last 16 bytes.
gcc -c -m32 -Wa,--fatal-warnings -o "$work/count.o" "$here/src/count.S" \
  && ld -m elf_i386 -Ttext 0 --build-id=none --oformat binary -o "$out/count.bin.tmp" "$work/count.o" \
  || fail "count.S does not assemble (is binutils installed?)"

# The same input gives the same bytes: sorted names, fixed times, owner root, no device numbers.
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . -print0 | sort -z | cpio --null --create --format newc --owner 0:0 --reproducible --quiet) | gzip -9n > "$out/initrd.gz.tmp"
cp "$kernel" "$out/vmlinuz.tmp"
chmod 644 "$out/vmlinuz.tmp" "$out/initrd.gz.tmp" "$out/count.bin.tmp"
mv "$out/count.bin.tmp" "$out/count.bin"
mv "$out/vmlinuz.tmp" "$out/vmlinuz"
mv "$out/initrd.gz.tmp" "$out/initrd.gz"
{ echo "key $key"; cat "$cache/packages"; (cd "$out" && sha256sum vmlinuz initrd.gz count.bin); } > "$out/packages.txt"
echo "guest: built $out ($(basename "$kernel"), $(stat -c %s "$out/initrd.gz") bytes initrd)" >&2
