# shellcheck shell=sh
# Prints what the console of this machine's PgBouncer says: `version`, lines `database` with whether one or all are paused,
# and a line `pool` for each. Versions have different columns, so each column is found by its name.
console() {
  runuser -u postgres -- psql -XAq -h /run/pgbouncer -p @PORT@ -U pgbouncer -d pgbouncer -P footer=off -c "$1"
}
# The columns of standard input with the names in $2, each line after the word $1.
columns() {
  awk -F '|' -v word="$1" -v names="$2" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; count = split(names, wanted, " "); next }
    {
      line = ""
      for (i = 1; i <= count; i++) {
        sum = ""
        parts = split(wanted[i], part, "+")
        if (parts == 1) sum = $at[part[1]]
        else for (k = 1; k <= parts; k++) sum += (part[k] in at) ? $at[part[k]] : 0
        line = line (i > 1 ? "|" : "") sum
      }
      print word, line
    }'
}
version=$(console 'SHOW VERSION') || exit 1
databases=$(console 'SHOW DATABASES') || exit 1
pools=$(console 'SHOW POOLS') || exit 1
# Before 1.19 it does not say whether all of it is paused.
state=$(console 'SHOW STATE' 2>/dev/null) || state=
echo "version $(printf '%s\n' "$version" | tail -n 1)"
printf '%s\n' "$state" | grep -qx 'paused|yes' && echo 'database 1'
printf '%s\n' "$databases" | grep -v '^pgbouncer|' | columns database paused
printf '%s\n' "$pools" | grep -v '^pgbouncer|' |
  columns pool 'database user cl_active cl_waiting sv_active+sv_idle+sv_used+sv_tested+sv_login maxwait'
