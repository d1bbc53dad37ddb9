# shellcheck shell=sh
# Stops Patroni's main process, `$main`, and those of its children that run the same Python.
kill -STOP "${main:?}"
# The words are numbers of processes.
# shellcheck disable=SC2013
for child in $(cat "/proc/$main/task/"*/children); do
  [ "$(readlink "/proc/$child/exe")" != "$(readlink "/proc/$main/exe")" ] || kill -STOP "$child" || :
done
echo "$main"
