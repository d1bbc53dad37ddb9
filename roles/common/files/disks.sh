#!/bin/sh
# Prepares the disks of a machine, and prints what it changes:
#   disks.sh MODE GROW DEVICE MOUNT
# MODE is "look" to print only. GROW is "yes" to let the file systems of / and MOUNT fill their disks. DEVICE is the disk of
# PostgreSQL's data, mounted at MOUNT by its UUID; empty for none. A disk that has a file system is never formatted.
set -eu
mode=$1 grow=$2 device=$3 mount=$4
least=$((16 * 1024 * 1024))

fail() {
  echo "$*" >&2
  exit 1
}

# Says what is to be done; succeeds if it shall be done.
change() {
  echo "$*"
  [ "$mode" = "do" ]
}

signature() {
  blkid --probe --match-tag "$2" --output value "$1" || [ $? -eq 2 ]
}

# The disk of the data gets a file system once, and its line in fstab. Patroni does not start without it.
data_disk() {
  mountpoint --quiet "$mount" && return
  tries=0
  while [ ! -b "$device" ]; do
    tries=$((tries + 1))
    [ $tries -le 20 ] || fail "$device, the disk for PostgreSQL's data, does not exist"
    sleep 0.5
  done
  type=$(signature "$device" TYPE)
  table=$(signature "$device" PTTYPE)
  [ -z "$table" ] || fail "$device, the disk for PostgreSQL's data, has a partition table ($table)"
  case $type in
    '' | ext4 | xfs) ;;
    *) fail "$device, the disk for PostgreSQL's data, holds $type, not a file system of type ext4 or xfs" ;;
  esac
  if [ -d "$mount" ]; then
    found=$(find "$mount" -maxdepth 4 -name PG_VERSION -print -quit)
    [ -z "$found" ] || fail "$mount has data of PostgreSQL (${found%/PG_VERSION}), which a disk mounted there would hide"
  fi
  if [ -z "$type" ]; then
    change "made a file system of type ext4 on $device" || return 0
    mkfs.ext4 -q -L hactl-data "$device"
    type=ext4
  fi
  change "mounted $device at $mount" || return 0
  uuid=$(signature "$device" UUID)
  owner=$(stat --format %u:%g "$mount" 2>/dev/null || echo 0:0)
  access=$(stat --format %a "$mount" 2>/dev/null || echo 755)
  mkdir -p "$mount"
  if ! grep -q "^UUID=$uuid " /etc/fstab; then
    options=defaults,nofail,x-systemd.required-by=patroni.service,x-systemd.before=patroni.service
    echo "UUID=$uuid $mount $type $options 0 2" >>/etc/fstab
    systemctl daemon-reload 2>/dev/null || :
  fi
  mount "$mount"
  chown "$owner" "$mount"
  chmod "$access" "$mount"
}

# Bytes that a file system fills.
filled() {
  case $2 in
    ext4) dumpe2fs -h "$1" 2>/dev/null | awk '/^Block count:/ { count = $3 } /^Block size:/ { size = $3 } END { printf "%.0f\n", count * size }' ;;
    xfs) xfs_info "$3" | awk '/^data / { for (i = 1; i <= NF; i++) { if ($i ~ /^bsize=/) size = substr($i, 7); if ($i ~ /^blocks=/) count = substr($i, 8) } } END { printf "%.0f\n", count * size }' ;;
  esac
}

# Whether partitions can grow; cloud images have what is needed, other templates may not.
can_grow() {
  command -v growpart >/dev/null && return
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends cloud-guest-utils >/dev/null 2>&1 || :
  command -v growpart >/dev/null
}

# The partition first, if it is the last of its disk, then the file system on it.
fill() {
  source=$(findmnt --noheadings --nofsroot --output SOURCE --target "$1")
  type=$(findmnt --noheadings --output FSTYPE --target "$1")
  place=$(findmnt --noheadings --output TARGET --target "$1")
  case $type in ext4 | xfs) ;; *) return 0 ;; esac
  [ -b "$source" ] || return 0
  name=$(basename "$(readlink -f "$source")")
  if [ -e "/sys/class/block/$name/partition" ]; then
    disk=$(basename "$(readlink -f "/sys/class/block/$name/..")")
    number=$(cat "/sys/class/block/$name/partition")
    end=$(($(cat "/sys/class/block/$name/start") + $(cat "/sys/class/block/$name/size")))
    last=yes
    for other in "/sys/class/block/$disk"/*/start; do
      [ "$(cat "$other")" -lt "$end" ] || last=no
    done
    if [ $last = yes ] && [ $((($(cat "/sys/class/block/$disk/size") - end) * 512)) -gt $least ]; then
      if [ "$mode" = "do" ] && ! can_grow; then
        # The rest of the machine is configured all the same, and the next run tries this again.
        echo "left partition $number of /dev/$disk smaller than its disk: growpart (package cloud-guest-utils) could not be installed"
      elif change "grew partition $number of /dev/$disk"; then
        said=$(growpart "/dev/$disk" "$number" 2>&1) || fail "$said"
      fi
    fi
  fi
  if [ $(($(blockdev --getsize64 "$source") - $(filled "$source" "$type" "$place"))) -gt $least ]; then
    change "grew the file system at $place" || return 0
    case $type in
      ext4) said=$(resize2fs "$source" 2>&1) || fail "$said" ;;
      xfs) said=$(xfs_growfs "$place" 2>&1) || fail "$said" ;;
    esac
  fi
}

# A container's file systems are its host's business.
systemd-detect-virt --container --quiet && exit 0
[ -z "$device" ] || data_disk
if [ "$grow" = yes ]; then
  fill /
  [ "$(findmnt --noheadings --output TARGET --target "$mount" 2>/dev/null || echo /)" = / ] || fill "$mount"
fi
