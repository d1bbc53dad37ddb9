# shellcheck shell=sh
# Gives the machine certificates that end soon. The old files stay beside the undo, and a unit runs that undo at the next
# start of the machine, since a timer does not outlive it.
kept=/etc/hactl/drill-leaf
umask 077
[ ! -e $kept ] || { echo "$kept is there: an earlier fault was not reverted" >&2; exit 1; }
rm -rf $kept.new
files='@FILES@'
for file in $files; do
  mkdir -p "$kept.new/files${file%/*}"
  cp -p "$file" "$kept.new/files$file"
done
cat >$kept.new/undo <<'UNDO'
set -e
@REVERT@
UNDO
cat >/etc/systemd/system/hactl-drill-leaf.service <<'BOOT'
[Unit]
Description=Reverts the drill certificate-expired after a restart of the machine
Before=etcd.service patroni.service
[Service]
Type=oneshot
ExecStart=/bin/sh /etc/hactl/drill-leaf/undo
BOOT
ln -sf ../hactl-drill-leaf.service /etc/systemd/system/multi-user.target.wants/hactl-drill-leaf.service
systemctl daemon-reload
mv $kept.new $kept
put() {
  cp -p "$1" "$1.hactl"
  cat >"$1.hactl"
  mv "$1.hactl" "$1"
}
@PUTS@
systemctl reload '@UNIT@'
