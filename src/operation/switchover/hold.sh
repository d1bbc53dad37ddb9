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

# Lets the clients go on. It says that nothing is paused where they do already.
resume() {
  said=$(console 3 RESUME 2>&1) || case $said in
    *'not paused'*) ;;
    *)
      echo "$said" >&2
      return 1
      ;;
  esac
}

disarm() {
  systemctl stop hactl-hold.timer 2>/dev/null || :
  systemctl reset-failed hactl-hold.service 2>/dev/null || :
  rm -f "$undo"
}

case $step in
  arm)
    set -e
    # A run that was killed may still hold them back, and not every version says so. Its timer goes only after its pause.
    [ ! -e "$undo" ] || resume
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
    said=$(console @PAUSE@ PAUSE 2>&1)
    code=$?
    [ -z "$said" ] || echo "$said" >&2
    # An operator has paused it: that is not ours to end. Whatever else ended the command, the pause may go on without it.
    case $said in *already*) disarm ;; esac
    exit "$code"
    ;;
  resume)
    # The timer has resumed already, or another run holds them back.
    grep -qs "^# $id\$" "$undo" || exit 0
    resume || exit 1
    disarm
    ;;
esac
