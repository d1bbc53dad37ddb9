# SPDX-License-Identifier: Apache-2.0
"""One JSON object per line for each thing that Ansible does.

hactl reads these lines instead of output made for people. Where they go is
named by the environment variable HACTL_EVENTS: a path, or the number of an
open file descriptor. Without it the plugin stays silent.
"""

from __future__ import annotations

import difflib
import json
import os
import threading
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: hactl_events
type: notification
short_description: Gives one JSON object per line for each event
description:
  - Enable it with C(ANSIBLE_CALLBACKS_ENABLED=hactl_events). It writes beside
    whatever callback prints to standard output.
  - HACTL_EVENTS names a file, or the number of an open file descriptor.
  - A failed task's list C(refused) is given as it is: what of the cluster file was refused, and why. So is the list
    C(untried) of a task that succeeded: what it could not try.
  - A task that changed something, or would in check mode, gives its C(effects) - files with their difference where
    Ansible compares them, units that start, stop, reload or restart, and what a module lists itself as C(effects).
    A task's variable C(hactl_restarts) names a service that the task restarts, C(hactl_leaves) one that it leaves
    waiting for a restart; the fact C(hactl_in_place), which that task may set, says that it must restart where it is.
  - Each line is flushed. Nothing of a task with C(no_log) is given but its
    name, host and status, and the paths of the files that it changed.
"""

LAST_LINES = 20
MAX_TEXT = 4000
FILES = ("copy", "template", "file")
UNITS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}


def lines(side):
    if isinstance(side, dict):
        # How the module "file" says owner, mode and kind.
        return ["%s: %s\n" % (key, side[key]) for key in sorted(side) if key != "path"]
    return (side or "").splitlines(keepends=True) if isinstance(side, str) else []


def differences(answer):
    found = answer.get("diff") or []
    text = ""
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict) and ("before" in one or "after" in one):
            both = difflib.unified_diff(lines(one.get("before")), lines(one.get("after")), n=1)
            text += "".join(line if line.endswith("\n") else line + "\n" for line in list(both)[2:])
    return text[:MAX_TEXT]


def last_lines(text):
    text = text if isinstance(text, str) else json.dumps(text, default=str)
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])[-MAX_TEXT:]


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "hactl_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._started = {}
        self._items = {}
        self._stream = None
        target = os.environ.get("HACTL_EVENTS", "")
        if not target:
            self.disabled = True
        elif target.isdigit():
            self._stream = os.fdopen(int(target), "w", encoding="utf-8", closefd=False)
        else:
            # Lines of several processes may share the file: append only.
            self._stream = open(target, "a", encoding="utf-8")

    def _emit(self, event, **fields):
        if self._stream is None:
            return
        line = json.dumps({"event": event, "time": time.time(), **fields}, default=str)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (BrokenPipeError, OSError):
                # The reader is gone. The run goes on to a whole state.
                self._stream = None

    @staticmethod
    def _task(task):
        role = getattr(task, "_role", None)
        return {
            "task": task.get_name(include_role_fqcn=False).rpartition(" : ")[2].strip(),
            "role": role.get_name() if role else None,
            "path": task.get_path(),
        }

    def v2_playbook_on_play_start(self, play):
        self._emit("play_start", play=play.get_name().strip())

    def _start(self, event, task):
        self._started[task._uuid] = time.monotonic()
        self._emit(event, **self._task(task))

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._start("task_start", task)

    def v2_playbook_on_handler_task_start(self, task):
        self._start("handler", task)

    def v2_runner_on_start(self, host, task):
        self._started[(host.get_name(), task._uuid)] = time.monotonic()

    def _result(self, result, status):
        task, host, answer = result._task, result._host.get_name(), result._result
        now = time.monotonic()
        began = self._started.pop((host, task._uuid), self._started.get(task._uuid, now))
        described = self._task(task)
        fields = {
            "host": host,
            "task": described["task"],
            "role": described["role"],
            "status": status,
            "duration_ms": round((now - began) * 1000),
            "changed": bool(answer.get("changed", False)),
        }
        hidden = answer.get("_ansible_no_log") or task.no_log is True
        if hidden:
            fields["msg"] = "hidden by no_log" if status in ("failed", "unreachable", "ignored") else ""
        elif status in ("failed", "unreachable", "ignored"):
            failed = [item for item in answer.get("results", []) if isinstance(item, dict) and item.get("failed")]
            if any(item.get("_ansible_no_log") for item in failed):
                fields["msg"] = "hidden by no_log"
            else:
                source = failed[0] if failed else answer
                fields["msg"] = last_lines(source.get("msg") or source.get("exception") or answer.get("msg") or "")
                fields["stderr"] = last_lines(source.get("stderr") or source.get("module_stderr") or "")
        else:
            msg = answer.get("msg", "")
            fields["msg"] = last_lines(msg) if isinstance(msg, str) else ""
        refused = answer.get("refused")
        if status in ("failed", "ignored") and not hidden and isinstance(refused, list) and refused:
            fields["refused"] = refused
        untried = answer.get("untried")
        if status == "ok" and not hidden and isinstance(untried, list) and untried:
            fields["untried"] = untried
        effects = self._effects(result, hidden) if status in ("ok", "changed") else []
        if effects:
            fields["effects"] = effects
        self._emit("host_result", **fields)

    def _effects(self, result, hidden):
        task, answer = result._task, result._result
        effects = self._items.pop((result._host.get_name(), task._uuid), None)
        if effects is None:
            effects = self._effects_of_one(result, hidden)
        given = task.vars or {}
        if answer.get("changed") and not answer.get("failed") and "hactl_restarts" in given:
            effects = [{"kind": "unit", "unit": given["hactl_restarts"], "action": "restart"}]
        if "hactl_leaves" in given:
            in_place = bool((answer.get("ansible_facts") or {}).get("hactl_in_place"))
            effects.append({"kind": "left", "unit": given["hactl_leaves"], "in_place": in_place})
        return effects

    @staticmethod
    def _effects_of_one(result, hidden):
        answer, action = result._result, result._task.action.rpartition(".")[2]
        if not answer.get("changed") or answer.get("failed"):
            return []
        given = result._task_fields.get("args") or {}
        if action in FILES:
            difference = "" if hidden else differences(answer)
            return [{"kind": "file", "path": given.get("dest") or given.get("path"), "diff": difference or None}]
        if hidden:
            return []
        if action == "systemd_service":
            return [{"kind": "unit", "unit": given.get("name"), "action": UNITS.get(given.get("state"), "start")}]
        if isinstance(answer.get("effects"), list):
            return list(answer["effects"])
        said = answer.get("msg") if action == "debug" else None
        return [{"kind": "task", "task": said or result._task.get_name().rpartition(" : ")[2].strip()}]

    def _item(self, result):
        hidden = result._result.get("_ansible_no_log") or result._task.no_log is True
        known = self._items.setdefault((result._host.get_name(), result._task._uuid), [])
        known.extend(self._effects_of_one(result, hidden))

    def v2_runner_item_on_ok(self, result):
        self._item(result)

    def v2_runner_item_on_failed(self, result):
        self._item(result)

    def v2_runner_on_ok(self, result):
        self._result(result, "changed" if result._result.get("changed", False) else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result):
        self._result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self._result(result, "unreachable")

    def v2_runner_retry(self, result):
        answer = result._result
        self._emit(
            "retry",
            host=result._host.get_name(),
            task=self._task(result._task)["task"],
            attempt=answer.get("attempts"),
            retries=answer.get("retries"),
        )

    def v2_playbook_on_stats(self, stats):
        hosts = {}
        for host in sorted(stats.processed):
            totals = stats.summarize(host)
            hosts[host] = {
                "ok": totals["ok"],
                "changed": totals["changed"],
                "failures": totals["failures"],
                "unreachable": totals["unreachable"],
                "skipped": totals["skipped"],
                "rescued": totals["rescued"],
                "ignored": totals["ignored"],
            }
        self._emit("stats", hosts=hosts)
