# shellcheck shell=sh
# Waits until the undo of a canary has run: its file is gone then.
undo=/run/@UNIT@
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  [ -e "$undo" ] || exit 0
  sleep 0.1
done
rm "$undo"
echo 'a systemd timer was set but did not run within 3 s' >&2
exit 1
