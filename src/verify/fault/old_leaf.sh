# shellcheck shell=sh
# Puts the old certificates back, and lets Patroni and PostgreSQL read them; etcd reads its files at each connection.
kept=/etc/hactl/drill-leaf
rm -rf $kept.new
if [ -d $kept/files ]; then
  (cd $kept/files && find . -type f) | while read -r file; do
    cp -p "$kept/files/$file" "/${file#./}.hactl"
    mv "/${file#./}.hactl" "/${file#./}"
  done
  if systemctl is-active --quiet '@UNIT@'; then systemctl reload '@UNIT@'; fi
fi
if [ -e /etc/systemd/system/hactl-drill-leaf.service ]; then
  rm -f /etc/systemd/system/multi-user.target.wants/hactl-drill-leaf.service /etc/systemd/system/hactl-drill-leaf.service
  systemctl daemon-reload
fi
rm -rf $kept
