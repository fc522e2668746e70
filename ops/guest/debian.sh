#!/bin/bash
# Builds a Debian 12 guest with a database that works, for a bench: debian.sh OUT
#
# OUT gets disk.img (ext4, sparse), vmlinuz, initrd.gz and packages.txt. debootstrap fetches its packages from HOLDFAST_DEBIAN_MIRROR (default
# http://deb.debian.org/debian). Once booted with root=/dev/vda it fills a PostgreSQL database of SCALE times 15 MiB, says DB-READY on the
# serial console, and then pgbench changes it RATE times a second for as long as the VM runs. Kernel command line: db.scale=10 db.rate=50.
set -euo pipefail
export LC_ALL=C
fail() { printf 'debian guest: %s\n' "$@" >&2; exit 1; }
[ $# -eq 1 ] || fail "usage: $0 OUT"
out=$(realpath -m "$1")
mirror=${HOLDFAST_DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || fail "debootstrap needs root"
for tool in debootstrap:debootstrap mke2fs:e2fsprogs; do
  command -v "${tool%%:*}" > /dev/null || fail "${tool%%:*} is missing; install it: apt-get install ${tool##*:}"
done
key=$(sha256sum < "$0" | cut -d ' ' -f 1)
mkdir -p "$out"
exec 9> "$out/lock"
flock 9
if [ -s "$out/disk.img" ] && grep -qx "key $key" "$out/packages.txt" 2> /dev/null; then exit 0; fi

root=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-debian.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
echo "debian guest: debootstrap from $mirror" >&2
debootstrap --variant=minbase --include=systemd-sysv,udev,initramfs-tools,linux-image-cloud-amd64,postgresql bookworm "$root" "$mirror" \
  > "$out/debootstrap.log" 2>&1 < /dev/null || fail "debootstrap failed; its log: $out/debootstrap.log" "$(tail -5 "$out/debootstrap.log")"

echo "/dev/vda / ext4 defaults 0 1" > "$root/etc/fstab"
echo debian > "$root/etc/hostname"
cat > "$root/usr/local/bin/load" << 'LOAD'
#!/bin/bash
# Fills a database, then changes it at a steady rate.
value() { sed -n "s/.*\<$1=\([0-9]*\).*/\1/p" /proc/cmdline | grep . || echo "$2"; }
cd / && createdb load && pgbench -i -q -s "$(value db.scale 10)" load && psql -qc checkpoint load || { echo DB-FAILED; exit 1; }
echo DB-READY
exec pgbench -c 4 -R "$(value db.rate 50)" -T 86400 -P 5 load
LOAD
chmod 755 "$root/usr/local/bin/load"
cat > "$root/etc/systemd/system/load.service" << 'UNIT'
[Unit]
After=postgresql.service
[Service]
User=postgres
ExecStartPre=+/bin/sh -c "pg_lsclusters -h | grep -q . || LC_ALL=C.UTF-8 pg_createcluster 15 main; systemctl start postgresql@15-main"
ExecStart=/usr/local/bin/load
TTYPath=/dev/ttyS0
StandardOutput=tty
[Install]
WantedBy=multi-user.target
UNIT
systemctl --root="$root" -q enable load.service
systemctl --root="$root" -q mask serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer # the same in each run
rm -rf "$root"/var/cache/apt/archives/*.deb

cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
cp "$root"/boot/initrd.img-* "$out/initrd.gz"
rm -f "$out/disk.img"
mke2fs -q -t ext4 -d "$root" "$out/disk.img" 3G > /dev/null
{ echo "key $key"; chroot "$root" dpkg-query -W; } > "$out/packages.tmp"
mv "$out/packages.tmp" "$out/packages.txt"
echo "debian guest: built $out ($(du -m "$out/disk.img" | cut -f 1) MiB on its disk)" >&2
