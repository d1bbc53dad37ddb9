# shellcheck shell=sh
# Lets a unit start again, and does not wait for it: etcd is ready only with a quorum, whose other members start in their turn.
unit='@UNIT@'
dir=/run/systemd/system/$unit.service.d
rm -f "$dir/hactl-drill.conf"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
systemctl start --no-block "$unit"
