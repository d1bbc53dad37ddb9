# shellcheck shell=sh
# One step of holding the clients of this machine's pooler back: `arm`, `pause` or `resume`. The timer that resumes is set
# before anything is paused, and needs neither hactl nor the network. /run is empty after a reboot, and a PgBouncer that
# starts is not paused.
step='@STEP@'
# That of the operation: it resumes only what it paused.
id='@ID@'
undo=/run/hactl-hold

# Within as many seconds as the first argument says.
console() {
  timeout "$1" runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -h /run/pgbouncer -p @PORT@ -U pgbouncer -d pgbouncer -c "$2"
}

disarm() {
  systemctl stop hactl-hold.timer 2>/dev/null || :
  systemctl reset-failed hactl-hold.service 2>/dev/null || :
  rm -f "$undo"
}

case $step in
  arm)
    set -e
    disarm
    console 3 'SHOW VERSION' >/dev/null
    cat >"$undo" <<'END'
# @ID@
runuser -u postgres -- psql -XAtq -h /run/pgbouncer -p @PORT@ -U pgbouncer -d pgbouncer -c RESUME
rm -f /run/hactl-hold
END
    systemd-run --quiet --unit=hactl-hold --service-type=oneshot --on-active=@SECONDS@ \
      --timer-property=AccuracySec=100ms /bin/sh "$undo"
    ;;
  pause)
    # Nothing is paused that no timer would resume.
    grep -qs "^# $id\$" "$undo" || exit 1
    console @PAUSE@ PAUSE
    code=$?
    # An operator has paused it: that is not ours to end. After the time of `timeout` it is, although clients still work.
    if [ "$code" != 0 ] && [ "$code" != 124 ]; then disarm; fi
    exit "$code"
    ;;
  resume)
    # The timer has resumed already, or another run holds them back.
    grep -qs "^# $id\$" "$undo" || exit 0
    # It says that nothing is paused where the clients go on already.
    said=$(console 3 RESUME 2>&1) || case $said in
      *'not paused'*) ;;
      *)
        echo "$said" >&2
        exit 1
        ;;
    esac
    disarm
    ;;
esac
