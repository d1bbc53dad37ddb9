#!/bin/sh
# Makes a Debian 12 machine for qemu from the distribution's packages: `disk.img`, `vmlinuz`, `initrd` and the key `id` for root
# in the directory that is the argument. The machine has the address 10.99.77.2 and everything that hactl's roles install by apt,
# so it needs no way to a package mirror.
set -eu
# mmdebstrap mounts file systems below the root. The namespaces end with this script, also when it is killed, and the mounts
# and processes with them.
if [ "${2-}" != inside ]; then
  exec unshare --mount --pid --fork --kill-child --mount-proc sh "$0" "$1" inside
fi
out=$1
root=$out/root
trap 'rm -rf "$root"' EXIT
mkdir -p "$out"
rm -rf "$root" "$out/id" "$out/id.pub"
ssh-keygen -q -t ed25519 -N '' -f "$out/id"

# initramfs-tools would look for the modules of this machine.
cat >"$out/prepare.sh" <<'PREPARE'
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/postgresql-common/createcluster.d" "$1/etc/systemd/system"
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$1/etc/initramfs-tools/conf.d/hactl"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$1/etc/initramfs-tools/modules"
echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.d/hactl.conf"
ln -s /dev/null "$1/etc/systemd/system/postgresql.service"
PREPARE

# An image that did not become complete is made again, so no package needs to be synchronised to the disk.
mmdebstrap --mode=root --variant=important --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --include=systemd-sysv,dbus,openssh-server,python3,python3-apt,python3-venv,sudo,iproute2,nftables,ca-certificates,udev,kmod,procps \
  --include=postgresql-15,chrony,linux-image-amd64,initramfs-tools \
  --essential-hook="sh $out/prepare.sh \"\$1\"" bookworm "$root"

mkdir -p "$root/root/.ssh"
cp "$out/id.pub" "$root/root/.ssh/authorized_keys"
echo vm >"$root/etc/hostname"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
printf '[Match]\nName=en*\n[Network]\nAddress=10.99.77.2/24\n' >"$root/etc/systemd/network/10-hactl.network"
ln -s /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
# A login is quick without a session of systemd and without the post-quantum key exchange.
printf 'UsePAM no\nUseDNS no\nKexAlgorithms curve25519-sha256\n' >"$root/etc/ssh/sshd_config.d/hactl.conf"
# Timers of the distribution take a processor that is slow already.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer man-db.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
cp "$root"/boot/initrd.img-* "$out/initrd"
mke2fs -q -t ext4 -d "$root" "$out/disk.new" 4G
mv "$out/disk.new" "$out/disk.img"
