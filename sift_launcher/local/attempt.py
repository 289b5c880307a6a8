"""One attempt at a job: from empty trees to the end of its hosts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sift_launcher.local.attend import Attendance, Ending
from sift_launcher.local.checkpoint_sync import CheckpointSync, restore
from sift_launcher.local.fetch import Fetcher
from sift_launcher.local.host_runner import HostRunner, RunningHost
from sift_launcher.local.inputs import bring
from sift_launcher.local.places import checkpoints_uri, is_s3
from sift_launcher.local.records import JobRecord
from sift_launcher.local.tree import HostTree, checkpoints_of, hosts_of, lay_out
from sift_launcher.local.wakeups import Wakeups
from sift_launcher.local.watch import CutShort, Halt, Watch
from sift_launcher.local.working_folder import Snapshot, snapshot


class Attempt:
    """Of a job that is not interrupted there is one."""

    def __init__(
        self,
        record: JobRecord,
        number: int,
        runner: HostRunner,
        watch: Watch,
        s3: Any,
        wakeups: Wakeups,
        enter: Callable[[str, str], None],
    ) -> None:
        """`number`: which attempt at the job it is. `s3`: botocore's client, None for a job that
        needs none. `enter`: called with the primary and secondary status that the job goes over
        to."""
        self._record = record
        # What an earlier attempt has called off may be on its way still, but not to this place.
        self._inputs = record.inputs / str(number)
        self._request = record.request()
        self._runner = runner
        self._watch = watch
        self._s3 = s3
        self._wakeups = wakeups
        self._enter = enter
        self._sync: CheckpointSync | None = None
        self.trees: dict[str, HostTree] = {}
        """The hosts' trees, once they are laid out."""

        self.code: dict[str, Snapshot] = {}
        """What lay in the hosts' working folders before they started."""

    def run(self) -> Ending:
        """Brings, lays out, trains. Raises OSError or SiftLaunchError when that cannot be."""
        try:
            self._watch.check()
            self._enter("InProgress", "Downloading")
            with self._watch.on_instances():
                self._prepare()
                return self._train()
        except CutShort as cut:
            if not cut.halt.is_interruption:
                self._enter("Stopping", "Stopping")
            return Ending({}, cut.halt.secondary)

    def on_halt(self, halt: Halt) -> None:
        """See Listener."""
        if not halt.is_interruption:
            self._enter("Stopping", "Stopping")
        if self._sync is not None:
            self._sync.hurry()

    def before_kill(self) -> None:
        """See Listener."""
        if self._sync is not None:
            self._sync.mark()

    def _prepare(self) -> None:
        fetcher = Fetcher(self._s3, self._watch.check) if self._s3 is not None else None
        request, hosts = self._request, hosts_of(self._request)
        inputs = bring(request, hosts, self._inputs, fetcher)
        trees = {}
        for host in hosts:
            folder = self._record.hosts / host
            base = self._runner.base(folder)
            interface = self._runner.network_interface
            trees[host] = lay_out(folder, host, request, base, interface, inputs)
        kept = checkpoints_uri(request)
        if kept is not None and is_s3(kept) and fetcher is not None:
            folders = {host: checkpoints_of(tree, request) for host, tree in trees.items()}
            for host, folder in folders.items():
                restore(fetcher, kept, folder, self._inputs / "checkpoints" / host)
            self._sync = CheckpointSync(self._s3, kept, list(folders.values()))
        self._watch.check()
        self.trees = trees
        self.code = {host: snapshot(tree.code) for host, tree in trees.items()}

    def _train(self) -> Ending:
        try:
            running = self._runner.start(self.trees, self._record.logs)
            self._enter("InProgress", "Training")
            with self._watch.training(), self._syncing():
                ending = self._attend(running)
        finally:
            # A host ends with its first program, and with this one: nothing of it runs on.
            self._runner.close()
        if self._sync is not None:
            self._sync.finish(orderly=ending.is_orderly)
        return ending

    def _syncing(self) -> AbstractContextManager[object]:
        return self._sync or nullcontext()

    def _attend(self, running: dict[str, RunningHost]) -> Ending:
        stop_seconds = float(self._record.settings()["StopSeconds"])
        hosts = Attendance(running, self._watch, stop_seconds, self._record.is_asked, self)
        return hosts.until_all_ended(self._wakeups.wait)
