# SPDX-License-Identifier: Apache-2.0
"""One JSON object per line for each thing that Ansible does.

hactl reads these lines instead of output made for people. Where they go is
named by the environment variable HACTL_EVENTS: a path, or the number of an
open file descriptor. Without it the plugin stays silent.
"""

from __future__ import annotations

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
  - A failed task's list C(refused) is given as it is: what of the cluster file was refused, and why.
  - Each line is flushed. Nothing of a task with C(no_log) is given but its
    name, host and status.
"""

LAST_LINES = 20
MAX_TEXT = 4000


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
        self._emit("host_result", **fields)

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
