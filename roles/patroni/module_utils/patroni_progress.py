# SPDX-License-Identifier: Apache-2.0
"""What moves while members are waited for: pure functions."""

from __future__ import annotations

import re

# Seconds for which everything may stand still once the wait has run out, or once all members run. A copy moves nothing until
# its checkpoint ends.
STALL = 60
# The same for a new cluster whose data comes from elsewhere: a server that starts first writes all of it to the disk.
LONG_STALL = 600
# A member within so many bytes of its leader has nothing to catch up.
NEAR = 16 << 20


def position(lsn):
    """A WAL position in bytes."""
    try:
        upper, lower = str(lsn).split("/")
        return (int(upper, 16) << 32) + int(lower, 16)
    except ValueError:
        return 0


def is_level(member):
    """Whether a member has what its leader has: it cannot stream for another reason, and moves with each write all the same."""
    lag = member.get("replay_lag", member.get("lag"))
    return isinstance(lag, int) and lag < NEAR


def marks(members, copies):
    """How far each thing is that may still move. The position of a member that streams moves with each write, and counts for nothing."""
    found = {"the copy to %s" % to: done for to, done in copies.items()}
    for member in members:
        if member["role"] in ("leader", "standby_leader") or member["state"] == "streaming" or is_level(member):
            continue
        replayed = position(member.get("replay_lsn") or member.get("lsn"))
        if replayed:
            found["replay on %s" % member["name"]] = replayed
    return found


def concerns(name, members, wanted):
    """Whether a host must judge the wait: it leads, or its own member does not stream.

    Only the hosts at both ends of a copy see how far it is, so the others leave it to these.
    """
    states = {member["name"]: member for member in members}
    own = states.get(name)
    if own is None or own["role"] in ("leader", "standby_leader") or own["state"] != "streaming":
        return True
    missing = [states.get(other, {}).get("state") for other in wanted if states.get(other, {}).get("state") != "streaming"
               and states.get(other, {}).get("role") not in ("leader", "standby_leader")]
    return not missing or any(state != "creating replica" for state in missing)


# A member without data that waits until another one has made the cluster.
WAITS = ("stopped", "uninitialized", "")
SEGMENT = re.compile(r"startup\s+recovering ([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")


def waits_for_data(name, members):
    """Whether another member is at making the new cluster: only its host sees how far that is."""
    if any(member["role"] in ("leader", "standby_leader") for member in members):
        return False
    own = next((member for member in members if member["name"] == name), {"state": ""})
    return own["state"] in WAITS and any(member["name"] != name and member["state"] not in WAITS for member in members)


def recovered(processes):
    """The WAL that a server in recovery has reached, in bytes for segments of 16 MB, by the titles of its processes."""
    found = SEGMENT.search(processes)
    return (int(found.group(2), 16) << 32) + (int(found.group(3), 16) << 24) if found else 0


def all_run(members, wanted):
    """Whether all members that are waited for run below a leader and nothing is copied, and a standby does not stream all the same."""
    states = {member["name"]: member for member in members}
    found = [states.get(name, {"role": "", "state": "absent"}) for name in wanted]
    standbys = [member["state"] for member in found if member["role"] not in ("leader", "standby_leader")]
    runs = all(member["state"] in ("running", "streaming", "in archive recovery") for member in found)
    return runs and len(standbys) == len(found) - 1 and any(state != "streaming" for state in standbys)


def rank(member):
    """How well a member is: 2 leads or streams, 1 runs or is on its way, 0 is down or away."""
    leads = member["role"] in ("leader", "standby_leader") and member["state"] == "running"
    if leads or member["state"] == "streaming":
        return 2
    return 1 if member["state"] in ("running", "in archive recovery", "creating replica", "starting") else 0


def is_no_worse(before, members, wanted):
    """Whether a member was not well before a change, and each is at least as well after it."""
    past, now = ({member["name"]: rank(member) for member in seen} for seen in (before, members))
    if not past:
        return False
    return any(past.get(name, 0) < 2 for name in wanted) and all(now.get(name, 0) >= past.get(name, 0) for name in wanted)


class Progress:
    """The farthest position of each thing, and when one of them last moved."""

    def __init__(self, stall=STALL):
        self.stall = stall
        self.best = {}
        self.moved = 0
        self.idle = None

    def is_stuck(self, all_run, now):
        """Whether for a while no start and no copy was under way that could end, and nothing moved: no wait helps then."""
        self.idle = (now if self.idle is None else self.idle) if all_run else None
        return self.idle is not None and now - max(self.idle, self.moved) > STALL

    def note(self, found, now):
        for thing, done in found.items():
            # A copy that starts again and again never gets farther.
            if done > self.best.get(thing, 0):
                self.best[thing], self.moved = done, now

    def is_over(self, now, wait):
        return now > wait and (not self.best or now - self.moved > self.stall)

    def stood_still(self, now):
        things = ", ".join("%s at %d MB" % (thing, done >> 20) for thing, done in sorted(self.best.items()))
        if things:
            return "nothing moved for %d s: %s" % (now - self.moved, things)
        return "" if self.idle is None else "all members run, and nothing moved for %d s" % (now - self.idle)
